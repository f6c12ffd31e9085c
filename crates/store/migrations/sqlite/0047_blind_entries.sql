-- Entries of the ledger have random bits of their own from here on. Programs of before do not read such entries: none runs beside this.
SELECT 1;
