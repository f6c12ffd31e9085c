-- PostgreSQL gets a function that SQLite has.
SELECT unhex('00');
