-- runs beside: 0020
-- Who is signed in to the console, or is signing in (`kind`: `session`, `sign-in`). `id` is a digest of what the browser
-- keeps, and `sealed` is sealed with a key that is made of it: the database alone neither signs anybody in nor says who they are.
CREATE TABLE console_session (
    id               TEXT PRIMARY KEY,
    kind             TEXT NOT NULL,
    sealed           TEXT NOT NULL,
    begun_us         BIGINT NOT NULL,
    seen_us          BIGINT NOT NULL,
    authenticated_us BIGINT NOT NULL
);
CREATE INDEX console_session_by_time ON console_session (seen_us);
