-- Whom one practitioner has asked about on one day: keyed hashes that join with no person here, forgotten after two days. A run
-- is how many identifiers in a row led up to this one.
CREATE TABLE subject_use (
    caller        TEXT NOT NULL,
    day           TEXT NOT NULL,
    person_hash   BLOB NOT NULL,
    run           BIGINT NOT NULL,
    PRIMARY KEY (caller, day, person_hash)
);

-- How many of them there are, for a practitioner, and for all of a system's together.
CREATE TABLE caller_use (
    caller        TEXT NOT NULL,
    day           TEXT NOT NULL,
    subjects      BIGINT NOT NULL,
    PRIMARY KEY (caller, day)
);

-- How a practitioner's questions went in one hour, and whether they went through identifiers in a row.
CREATE TABLE answer_use (
    caller        TEXT NOT NULL,
    hour          TEXT NOT NULL,
    answered      BIGINT NOT NULL,
    no_record     BIGINT NOT NULL,
    scans         BIGINT NOT NULL,
    PRIMARY KEY (caller, hour)
);
