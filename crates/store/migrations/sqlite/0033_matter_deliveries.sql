-- runs beside: 0032
-- Messages about what is beside agreements' courses: comments, disputes, negotiations. One a step, organisation and channel, until
-- they are delivered or given up. As `agreement_delivery`; `dataspace` is the connector of whoever negotiates.
CREATE TABLE matter_delivery (
    matter        TEXT NOT NULL,
    revision      BIGINT NOT NULL,
    organisation  TEXT NOT NULL,
    channel       TEXT NOT NULL,
    state         TEXT NOT NULL,
    attempts      BIGINT NOT NULL,
    next_us       BIGINT NOT NULL,
    fault         TEXT,
    PRIMARY KEY (matter, revision, organisation, channel)
);
CREATE INDEX matter_delivery_by_due ON matter_delivery (state, next_us);
CREATE INDEX matter_delivery_by_organisation ON matter_delivery (organisation, state);
CREATE INDEX agreement_matter_by_state ON agreement_matter (about, state);
