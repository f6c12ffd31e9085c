-- runs beside: 0030
-- How much agreements are used, counted from the ledger beside the requests, and how far it is counted.
CREATE TABLE agreement_use (
    agreement     TEXT NOT NULL,
    flow          TEXT NOT NULL,
    quarter       TEXT NOT NULL,
    what          TEXT NOT NULL,
    name          TEXT NOT NULL,
    uses          BIGINT NOT NULL,
    PRIMARY KEY (agreement, flow, quarter, what, name)
);
CREATE TABLE agreement_use_position (
    id            BIGINT PRIMARY KEY CHECK (id = 1),
    next_seq      BIGINT NOT NULL
);
