-- Entries of the ledger have random bits of their own from here on. Programs of before do not read such entries: none may be running then.
SELECT 1;
