-- What is said, argued and recorded beside an agreement's course: comments, disputes, benefits, harm. `course` is the state that
-- the rules work on, as JSON; `published` is a precedent, once all agree.
CREATE TABLE agreement_matter (
    id            TEXT PRIMARY KEY,
    agreement     TEXT NOT NULL,
    about         TEXT NOT NULL,
    revision      BIGINT NOT NULL,
    version       BIGINT NOT NULL,
    state         TEXT NOT NULL,
    blocks        BIGINT NOT NULL,
    course        TEXT NOT NULL,
    published     TEXT,
    next_us       BIGINT,
    opened_us     BIGINT NOT NULL,
    moved_us      BIGINT NOT NULL
);
CREATE INDEX agreement_matter_by_agreement ON agreement_matter (agreement, about, opened_us);
CREATE INDEX agreement_matter_by_next ON agreement_matter (next_us);
-- Every step, with what was written, salted as the ledger has the digest of it.
CREATE TABLE agreement_matter_step (
    matter        TEXT NOT NULL,
    revision      BIGINT NOT NULL,
    action        TEXT NOT NULL,
    organisation  TEXT,
    person        TEXT,
    reason        TEXT,
    written       TEXT,
    at_us         BIGINT NOT NULL,
    PRIMARY KEY (matter, revision)
);
