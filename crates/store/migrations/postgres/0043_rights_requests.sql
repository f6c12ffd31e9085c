-- runs beside: 0040
-- Complaints of people about what was shared, and requests that something be corrected. `details` and `answer` are sealed with the
-- person's own key. A system that sends one twice with the same key has sent one.
CREATE TABLE rights_request (
    id                 TEXT PRIMARY KEY,
    subject            TEXT NOT NULL,
    about_right        TEXT NOT NULL,
    decision_id        TEXT,
    organisation       TEXT NOT NULL,
    recorded_by        TEXT NOT NULL,
    state              TEXT NOT NULL,
    received_us        BIGINT NOT NULL,
    acknowledge_due_us BIGINT NOT NULL,
    answer_due_us      BIGINT,
    acknowledged_us    BIGINT,
    answered_us        BIGINT,
    answered_by        TEXT,
    outcome            TEXT,
    details            TEXT NOT NULL,
    answer             TEXT,
    request_system     TEXT,
    request_key        TEXT
);
CREATE INDEX rights_request_by_organisation ON rights_request (organisation, state);
CREATE INDEX rights_request_by_subject ON rights_request (subject);
CREATE UNIQUE INDEX rights_request_by_key ON rights_request (request_system, request_key);
