-- The few entries that name the ledger's keys, found at every start.
CREATE INDEX ledger_entry_signing_keys ON ledger_entry (seq)
    WHERE kind IN ('log_opened', 'signing_key_announced', 'signing_key_retired');
