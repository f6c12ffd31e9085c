-- Closed ranges of entries that are kept outside the database too. Detached: their leaves are there alone; an empty leaf
-- here stands for one of them. Places, times, kinds, decisions and hashes stay.
CREATE TABLE ledger_block (
    from_seq      BIGINT PRIMARY KEY,
    until_seq     BIGINT NOT NULL,
    range_root    BYTEA NOT NULL,
    manifest_sha256 TEXT NOT NULL,
    archived_us   BIGINT NOT NULL,
    detached_us   BIGINT
);
