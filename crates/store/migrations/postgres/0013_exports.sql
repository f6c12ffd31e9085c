-- Requests to take entries away, each waiting for a second person. The filter and the manifest are JSON.
CREATE TABLE export_request (
    id            TEXT PRIMARY KEY,
    organisation  TEXT NOT NULL,
    requested_by  TEXT NOT NULL,
    format        TEXT NOT NULL,
    filter        TEXT NOT NULL,
    purpose       TEXT NOT NULL,
    case_reference TEXT NOT NULL,
    state         TEXT NOT NULL,
    requested_us  BIGINT NOT NULL,
    expires_us    BIGINT NOT NULL,
    decider_organisation TEXT,
    decided_by    TEXT,
    manifest      TEXT
);
CREATE INDEX export_request_by_organisation ON export_request (organisation, requested_us);
CREATE INDEX export_request_to_work_on ON export_request (state, expires_us);
