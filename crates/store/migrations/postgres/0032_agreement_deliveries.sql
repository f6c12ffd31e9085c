-- runs beside: 0031
-- Messages about steps of agreements, one a step and organisation, until they are delivered or given up. As `alert_delivery`.
CREATE TABLE agreement_delivery (
    agreement     TEXT NOT NULL,
    revision      BIGINT NOT NULL,
    organisation  TEXT NOT NULL,
    state         TEXT NOT NULL,
    attempts      BIGINT NOT NULL,
    next_us       BIGINT NOT NULL,
    fault         TEXT,
    PRIMARY KEY (agreement, revision, organisation)
);
CREATE INDEX agreement_delivery_by_due ON agreement_delivery (state, next_us);
CREATE INDEX agreement_delivery_by_organisation ON agreement_delivery (organisation, state);
