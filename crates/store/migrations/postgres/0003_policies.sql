-- The policy set in force, as the ledger announced it.
CREATE TABLE policy_set (
    id            BIGINT PRIMARY KEY CHECK (id = 1),
    revision      BIGINT NOT NULL,
    digest        TEXT NOT NULL
);

CREATE TABLE policy_agreement (
    agreement     TEXT PRIMARY KEY,
    version       BIGINT NOT NULL,
    digest        TEXT NOT NULL,
    status        TEXT NOT NULL
);
