-- Alerts: how much one matters; whom it is about, who therefore does not handle it; and what makes another one the
-- same again (a keyed hash, with the time of what caused it).
ALTER TABLE alert ADD COLUMN severity TEXT NOT NULL DEFAULT 'medium';
ALTER TABLE alert ADD COLUMN about_organisation TEXT;
ALTER TABLE alert ADD COLUMN about_human TEXT;
ALTER TABLE alert ADD COLUMN series BYTEA;
ALTER TABLE alert ADD COLUMN cause_us BIGINT;
CREATE INDEX alert_by_series ON alert (series, cause_us);
UPDATE alert SET state = 'triaged' WHERE state = 'acknowledged';

-- How far the ledger has been held against the rules.
CREATE TABLE alert_position (
    id            BIGINT PRIMARY KEY CHECK (id = 1),
    next_seq      BIGINT NOT NULL
);

-- What organisations registered to be compared with: their practitioners' own identifiers, surnames and homes, and
-- people they watch. Hashes alone, keyed, for one organisation (surnames and homes for one practitioner), so that
-- none can be joined with a person here or with another's.
CREATE TABLE alert_mark (
    id            TEXT PRIMARY KEY,
    kind          TEXT NOT NULL,
    organisation  TEXT NOT NULL,
    practitioner  TEXT NOT NULL,
    hash          BYTEA NOT NULL,
    recorded_us   BIGINT NOT NULL,
    until_us      BIGINT
);
CREATE INDEX alert_mark_by_hash ON alert_mark (hash);
CREATE INDEX alert_mark_by_practitioner ON alert_mark (organisation, practitioner);

-- Messages about alerts, one a channel, until they are delivered or given up.
CREATE TABLE alert_delivery (
    alert         TEXT NOT NULL REFERENCES alert (id),
    event         TEXT NOT NULL,
    channel       TEXT NOT NULL,
    organisation  TEXT NOT NULL,
    state         TEXT NOT NULL,
    attempts      BIGINT NOT NULL,
    next_us       BIGINT NOT NULL,
    fault         TEXT,
    PRIMARY KEY (alert, event, channel)
);
CREATE INDEX alert_delivery_by_due ON alert_delivery (state, next_us);
CREATE INDEX alert_delivery_by_organisation ON alert_delivery (organisation, state);
