//! Caller tests.
