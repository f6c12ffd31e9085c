//! Acceptance tests over real TLS, real simulators and a real database. One binary, a module per feature.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::too_many_lines,
    clippy::cast_possible_truncation,
    clippy::type_complexity,
    clippy::needless_pass_by_value,
    clippy::semicolon_if_nothing_returned,
    reason = "tests fail by panicking, and tables of changes are tables"
)]

mod agreements;
mod alerts;
mod authzen;
mod backup;
mod bad_input;
mod blocks;
mod callers;
mod certificates;
mod console;
mod crash;
mod disclosures;
mod exceptions;
mod exports;
mod fhir;
mod fhir_consents;
mod floods;
mod foreign_issuer;
mod forged;
mod guessing;
mod holder;
mod hostile_fhir;
mod hostile_json;
mod http2;
mod key_sets;
mod ledger_checks;
mod lists;
mod loading;
mod logs;
mod looking_back;
mod mirror;
mod observability;
mod overload;
mod own_consents;
mod privacy;
mod reach;
mod records_of_wishes;
mod replicas;
mod restrictions;
mod rights_requests;
mod signing;
mod signing_keys;
mod stopping;
mod subject_access;
mod surface;
mod timing;
mod tls;
mod token_endpoint;
mod tokens;
mod trail;
mod wire;
mod witnesses;
