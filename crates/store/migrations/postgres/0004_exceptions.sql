-- What bears on a decision beside consents and objections, with two times throughout: when it holds, inside the
-- row's body, and when this database knew it (recorded_us, ended_us), so that "what did we hold at 10:02?" has an
-- answer.
ALTER TABLE consent ADD COLUMN given_by TEXT NOT NULL DEFAULT '{"who":"person"}';
ALTER TABLE consent ADD COLUMN ended_us BIGINT;

CREATE TABLE consent_change (
    consent       TEXT NOT NULL REFERENCES consent (id),
    recorded_us   BIGINT NOT NULL,
    status_before TEXT NOT NULL,
    ended_before  BIGINT,
    expires_before BIGINT,
    PRIMARY KEY (consent, recorded_us)
);

ALTER TABLE objection ADD COLUMN objection_kind TEXT NOT NULL DEFAULT 'objection';
CREATE TABLE objection_change (
    objection     TEXT NOT NULL REFERENCES objection (id),
    recorded_us   BIGINT NOT NULL,
    status_before TEXT NOT NULL,
    PRIMARY KEY (objection, recorded_us)
);

ALTER TABLE subject ADD COLUMN restricted_us BIGINT;
ALTER TABLE subject ADD COLUMN deceased_us BIGINT;

-- Relationships, grants and emergencies. The body is the domain value as JSON.
CREATE TABLE subject_fact (
    id            TEXT PRIMARY KEY,
    subject       TEXT NOT NULL REFERENCES subject (pseudonym),
    kind          TEXT NOT NULL,
    body          TEXT NOT NULL,
    details       TEXT NOT NULL,
    recorded_by   TEXT NOT NULL,
    recorded_us   BIGINT NOT NULL,
    ended_us      BIGINT
);
CREATE INDEX subject_fact_by_subject ON subject_fact (subject);

-- Requests for a one-off disclosure, waiting for a named person of the record holder.
CREATE TABLE referral (
    decision_id   TEXT PRIMARY KEY,
    subject       TEXT NOT NULL REFERENCES subject (pseudonym),
    recipient     TEXT NOT NULL,
    practitioner  TEXT NOT NULL,
    provider      TEXT NOT NULL,
    holder        TEXT NOT NULL,
    purpose       TEXT NOT NULL,
    asked         TEXT NOT NULL,
    state         TEXT NOT NULL,
    opened_us     BIGINT NOT NULL,
    due_us        BIGINT NOT NULL,
    taken_by      TEXT,
    form          TEXT NOT NULL,
    outcome       TEXT
);
CREATE INDEX referral_by_holder ON referral (holder, state, due_us);
CREATE INDEX referral_by_recipient ON referral (recipient, state, due_us);

CREATE TABLE referral_message (
    decision_id   TEXT NOT NULL REFERENCES referral (decision_id),
    position      BIGINT NOT NULL,
    organisation  TEXT NOT NULL,
    author        TEXT NOT NULL,
    at_us         BIGINT NOT NULL,
    text          TEXT NOT NULL,
    PRIMARY KEY (decision_id, position)
);

-- Alerts to an organisation's own privacy officers. They refer, and identify nobody.
CREATE TABLE alert (
    id            TEXT PRIMARY KEY,
    rule          TEXT NOT NULL,
    organisation  TEXT NOT NULL,
    reference     TEXT NOT NULL,
    state         TEXT NOT NULL,
    raised_us     BIGINT NOT NULL,
    due_us        BIGINT NOT NULL,
    escalated_us  BIGINT,
    handled_by    TEXT,
    handled_us    BIGINT,
    outcome       TEXT,
    note          TEXT
);
CREATE INDEX alert_by_organisation ON alert (organisation, state, due_us);
CREATE INDEX alert_by_due ON alert (state, due_us);

-- National data opt-out checks: batches that expire, keyed by purpose. The hash is keyed with the purpose too, so
-- that it cannot be joined with any person in this database.
CREATE TABLE opt_out_batch (
    id            TEXT PRIMARY KEY,
    purpose       TEXT NOT NULL,
    imported_us   BIGINT NOT NULL,
    expires_us    BIGINT NOT NULL
);
CREATE TABLE opt_out_checked (
    person_hash   BYTEA NOT NULL,
    batch         TEXT NOT NULL REFERENCES opt_out_batch (id),
    opted_out     BIGINT NOT NULL,
    PRIMARY KEY (person_hash, batch)
);
CREATE INDEX opt_out_checked_by_batch ON opt_out_checked (batch);

-- Policy sets as they were, for deciding again what was decided under them.
CREATE TABLE policy_archive (
    revision      BIGINT PRIMARY KEY,
    digest        TEXT NOT NULL,
    activated_us  BIGINT NOT NULL,
    files         TEXT NOT NULL
);

-- Releases a day, for flows with a ceiling.
CREATE TABLE flow_use (
    flow          TEXT NOT NULL,
    day           TEXT NOT NULL,
    releases      BIGINT NOT NULL,
    PRIMARY KEY (flow, day)
);
