-- runs beside: 0043
-- Where somebody in office is written to when a dispute comes to their level.
ALTER TABLE agreement_officer ADD COLUMN address TEXT;
