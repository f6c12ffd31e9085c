-- runs beside: 0044
-- Use is counted again from the ledger: a question to which no record was available is one kind, whatever stood behind it.
DELETE FROM agreement_use;
DELETE FROM agreement_use_position;
