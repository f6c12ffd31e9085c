-- Who writes, and beats while it lives: its open questions are its own. Where one process writes a file there is no row.
CREATE TABLE replica (
    id            TEXT PRIMARY KEY,
    beat          BIGINT NOT NULL
);
ALTER TABLE open_intent ADD COLUMN replica TEXT NOT NULL DEFAULT '';
CREATE INDEX open_intent_by_replica ON open_intent (replica);
