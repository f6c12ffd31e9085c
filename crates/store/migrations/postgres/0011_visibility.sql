-- What privacy officers decided about telling a person of an event.
CREATE TABLE event_visibility (
    decision_id   TEXT NOT NULL,
    organisation  TEXT NOT NULL,
    state         TEXT NOT NULL,
    until_us      BIGINT,
    ground        TEXT,
    decided_by    TEXT NOT NULL,
    decided_us    BIGINT NOT NULL,
    PRIMARY KEY (decision_id, organisation)
);
