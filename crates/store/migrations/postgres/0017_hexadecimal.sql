-- As in SQLite: lists of hashes are bound as JSON too.
CREATE FUNCTION unhex(digits TEXT) RETURNS BYTEA
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT decode(digits, 'hex') $$;
