-- People, by random pseudonym. No identifier is stored: only a keyed hash, for looking one up.
CREATE TABLE subject (
    pseudonym     TEXT PRIMARY KEY,
    person_group  TEXT NOT NULL,
    revision      BIGINT NOT NULL,
    restricted    BIGINT NOT NULL,
    deceased      BIGINT NOT NULL
);
CREATE INDEX subject_by_group ON subject (person_group);

CREATE TABLE subject_identifier (
    lookup_hash   BYTEA PRIMARY KEY,
    pseudonym     TEXT NOT NULL REFERENCES subject (pseudonym)
);

CREATE TABLE consent (
    id            TEXT PRIMARY KEY,
    subject       TEXT NOT NULL REFERENCES subject (pseudonym),
    consent_type  TEXT NOT NULL,
    status        TEXT NOT NULL,
    controller    TEXT NOT NULL,
    recipients    TEXT NOT NULL,
    purposes      TEXT NOT NULL,
    given_us      BIGINT NOT NULL,
    expires_us    BIGINT,
    recorded_by   TEXT NOT NULL,
    recorded_us   BIGINT NOT NULL,
    withdrawn_us  BIGINT,
    details       TEXT NOT NULL
);
CREATE INDEX consent_by_subject ON consent (subject);

CREATE TABLE objection (
    id            TEXT PRIMARY KEY,
    subject       TEXT NOT NULL REFERENCES subject (pseudonym),
    purposes      TEXT NOT NULL,
    recipients    TEXT NOT NULL,
    status        TEXT NOT NULL,
    recorded_by   TEXT NOT NULL,
    recorded_us   BIGINT NOT NULL,
    answer_due_us BIGINT NOT NULL,
    details       TEXT NOT NULL
);
CREATE INDEX objection_by_subject ON objection (subject);
