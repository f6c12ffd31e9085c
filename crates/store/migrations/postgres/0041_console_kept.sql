-- runs beside: 0020
-- What somebody keeps for themselves in the console: searches of the trail by name (`kind`: `search`), and terms that they are
-- writing and have not offered (`terms`, named by the agreement), or what they wrote of it (`words`). Searches name no person.
CREATE TABLE console_kept (
    organisation TEXT NOT NULL,
    person       TEXT NOT NULL,
    kind         TEXT NOT NULL,
    name         TEXT NOT NULL,
    content      TEXT NOT NULL,
    kept_us      BIGINT NOT NULL,
    PRIMARY KEY (organisation, person, kind, name)
);
CREATE INDEX console_kept_by_time ON console_kept (kind, kept_us);
