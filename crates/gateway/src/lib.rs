//! The gateway: HTTP edge, configuration, command line, and the one use case, [`disclose`].
//!
//! Start at [`disclose`] for what happens to a question, [`serve`] for how the process comes up, [`problem`] for
//! every answer that is not a success.

pub mod admission;
pub mod agreements;
pub mod alerts;
pub mod answer_time;
pub mod app;
pub mod audit_reads;
pub mod authorization_server;
pub mod backup;
pub mod blocks;
pub mod caller;
pub mod caller_use;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dataspace;
pub mod desk;
pub mod disclose;
pub mod edge;
pub mod exporting;
pub mod fault;
pub mod fhir;
pub mod kept;
pub mod list;
pub mod listener;
pub mod mint;
pub mod mirror;
pub mod opt_outs;
pub mod policies;
pub mod problem;
pub mod receipt;
pub mod receipts;
pub mod referrals;
pub mod replay;
mod replicas;
pub mod retention;
pub mod routes;
pub mod serve;
pub mod shed;
pub mod sight;
pub mod stop;
pub mod subject_access;
pub mod telemetry;
pub mod tls;
pub mod witness;
pub mod witnessed;
