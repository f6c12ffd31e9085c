-- What a person was shown when they answered: a yes is to nothing beyond it. Null is a consent that does not say.
ALTER TABLE consent ADD COLUMN shown TEXT;
