//! Minimiser tests.
