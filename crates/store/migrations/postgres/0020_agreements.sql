-- Agreements that are managed over the API. `course` is the state that lifecycle rules work on, as JSON; `policy_file` is
-- the text that the policies in force have of it, where it is in force.
CREATE TABLE agreement (
    id            TEXT PRIMARY KEY,
    revision      BIGINT NOT NULL,
    state         TEXT NOT NULL,
    course        TEXT NOT NULL,
    policy_file   TEXT,
    next_us       BIGINT,
    moved_us      BIGINT NOT NULL
);
CREATE INDEX agreement_by_next ON agreement (next_us);
-- Who has to do with an agreement, and may see it.
CREATE TABLE agreement_member (
    agreement     TEXT NOT NULL,
    organisation  TEXT NOT NULL,
    PRIMARY KEY (agreement, organisation)
);
CREATE INDEX agreement_member_by_organisation ON agreement_member (organisation, agreement);
-- Terms as canonical JSON. What has been offered is never written again.
CREATE TABLE agreement_version (
    agreement     TEXT NOT NULL,
    version       BIGINT NOT NULL,
    terms         TEXT NOT NULL,
    terms_sha256  TEXT NOT NULL,
    organisation  TEXT NOT NULL,
    author        TEXT NOT NULL,
    written_us    BIGINT NOT NULL,
    PRIMARY KEY (agreement, version)
);
-- Every step, with what was written about it, salted as the ledger has the digest of it.
CREATE TABLE agreement_step (
    agreement     TEXT NOT NULL,
    revision      BIGINT NOT NULL,
    version       BIGINT NOT NULL,
    action        TEXT NOT NULL,
    state         TEXT NOT NULL,
    organisation  TEXT,
    person        TEXT,
    scope         TEXT,
    reason        TEXT,
    written       TEXT,
    at_us         BIGINT NOT NULL,
    PRIMARY KEY (agreement, revision)
);
CREATE TABLE agreement_signature (
    agreement     TEXT NOT NULL,
    version       BIGINT NOT NULL,
    officer_id    TEXT NOT NULL,
    organisation  TEXT NOT NULL,
    person        TEXT NOT NULL,
    role          TEXT NOT NULL,
    revision      BIGINT NOT NULL,
    signature     TEXT NOT NULL,
    signed_us     BIGINT NOT NULL,
    PRIMARY KEY (agreement, version, officer_id)
);
-- Who signs or advises for an organisation, with the public key as a JWK.
CREATE TABLE agreement_officer (
    id            TEXT PRIMARY KEY,
    organisation  TEXT NOT NULL,
    person        TEXT NOT NULL,
    name          TEXT NOT NULL,
    role          TEXT NOT NULL,
    key_id        TEXT,
    jwk           TEXT,
    state         TEXT NOT NULL,
    asked_by      TEXT NOT NULL,
    registered_by TEXT,
    asked_us      BIGINT NOT NULL,
    registered_us BIGINT,
    ended_us      BIGINT
);
CREATE INDEX agreement_officer_by_person ON agreement_officer (organisation, person);
-- What a caller asked for once already, so that a request that is sent again does nothing again.
CREATE TABLE agreement_request (
    system        TEXT NOT NULL,
    request_key   TEXT NOT NULL,
    body_sha256   TEXT NOT NULL,
    agreement     TEXT NOT NULL,
    revision      BIGINT NOT NULL,
    at_us         BIGINT NOT NULL,
    PRIMARY KEY (system, request_key)
);
