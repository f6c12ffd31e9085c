-- Why a status was changed, in words that somebody was told; and who answers an objection.
ALTER TABLE consent ADD COLUMN status_reason TEXT;
ALTER TABLE objection ADD COLUMN controller TEXT;
UPDATE objection SET controller = recorded_by WHERE controller IS NULL;
ALTER TABLE objection ADD COLUMN status_reason TEXT;
-- What the reason was before, so that "what did we hold at 10:02?" has it too.
ALTER TABLE consent_change ADD COLUMN reason_before TEXT;
ALTER TABLE objection_change ADD COLUMN reason_before TEXT;
