-- Words about people are sealed with a key of each person's own, which is itself wrapped with a key outside the
-- database. Without its row here, what was sealed says nothing any more.
CREATE TABLE subject_key (
    subject       TEXT PRIMARY KEY REFERENCES subject (pseudonym),
    wrapping_key  TEXT NOT NULL,
    wrapped       BYTEA NOT NULL
);
CREATE INDEX subject_key_by_wrapping_key ON subject_key (wrapping_key);

-- With which keys this database was written: a check value each, from which no key follows.
CREATE TABLE key_check (
    name          TEXT PRIMARY KEY,
    value         TEXT NOT NULL
);

-- What must not be forgotten, whatever its age. Without a subject: everything.
CREATE TABLE legal_hold (
    id            TEXT PRIMARY KEY,
    subject       TEXT REFERENCES subject (pseudonym),
    organisation  TEXT NOT NULL,
    reason        TEXT NOT NULL,
    placed_by     TEXT NOT NULL,
    placed_us     BIGINT NOT NULL,
    lifted_by     TEXT,
    lifted_us     BIGINT
);
CREATE INDEX legal_hold_by_subject ON legal_hold (subject) WHERE lifted_us IS NULL;

-- When somebody last had to do with a person, to the day.
ALTER TABLE subject ADD COLUMN seen_us BIGINT;

-- When a relationship, grant or emergency ends by itself.
ALTER TABLE subject_fact ADD COLUMN ends_us BIGINT;

-- Requests to erase, and who carried them out: never one person alone.
CREATE TABLE erasure (
    id            TEXT PRIMARY KEY,
    subject       TEXT NOT NULL,
    organisation  TEXT NOT NULL,
    ground        TEXT NOT NULL,
    asked_by      TEXT NOT NULL,
    asked_us      BIGINT NOT NULL,
    done_by       TEXT,
    done_us       BIGINT
);
