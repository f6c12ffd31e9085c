-- Loads of people and consents in bulk, and how far each has come. While one is unfinished no gateway starts.
CREATE TABLE data_load (
    id            TEXT PRIMARY KEY,
    source_sha256 TEXT NOT NULL,
    is_generated  BIGINT NOT NULL,
    state         TEXT NOT NULL,
    rows_done     BIGINT NOT NULL,
    people        BIGINT NOT NULL,
    consents      BIGINT NOT NULL,
    first_seq     BIGINT NOT NULL,
    began_us      BIGINT NOT NULL,
    ended_us      BIGINT
);
CREATE INDEX data_load_by_source ON data_load (source_sha256);
