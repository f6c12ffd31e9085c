-- What lets one SQL text serve both databases: lists are bound as JSON, and read with SQLite's json_each.
CREATE FUNCTION json_each(list TEXT) RETURNS TABLE (key BIGINT, value TEXT)
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE ROWS 10
    AS $$ SELECT ordinality - 1, element
          FROM jsonb_array_elements_text(list::jsonb) WITH ORDINALITY AS listed (element, ordinality) $$;
CREATE DOMAIN blob AS BYTEA;

-- The ledger: leaves, the complete nodes of the tree over them, and its one head.
CREATE TABLE ledger_entry (
    seq           BIGINT PRIMARY KEY,
    at_us         BIGINT NOT NULL,
    kind          TEXT NOT NULL,
    decision_id   TEXT,
    leaf          BYTEA NOT NULL
);
CREATE INDEX ledger_entry_by_decision ON ledger_entry (decision_id) WHERE decision_id IS NOT NULL;

CREATE TABLE ledger_node (
    level         BIGINT NOT NULL,
    position      BIGINT NOT NULL,
    hash          BYTEA NOT NULL,
    PRIMARY KEY (level, position)
);

CREATE TABLE ledger_head (
    id            BIGINT PRIMARY KEY CHECK (id = 1),
    size          BIGINT NOT NULL,
    root          BYTEA NOT NULL,
    checkpoint    TEXT NOT NULL
);

-- What is asked of a record holder and not yet ended. Closed as indeterminate after a crash.
CREATE TABLE open_intent (
    decision_id   TEXT PRIMARY KEY,
    at_us         BIGINT NOT NULL
);

-- Per-request signed contexts that were used: each is good once.
CREATE TABLE used_context (
    issuer        TEXT NOT NULL,
    jti           TEXT NOT NULL,
    expires_us    BIGINT NOT NULL,
    PRIMARY KEY (issuer, jti)
);
CREATE INDEX used_context_by_expiry ON used_context (expires_us);
