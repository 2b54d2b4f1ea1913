//! The dispatcher in virtual time, against a store in memory and services that do as they are told. Both ledgers are
//! compared: what the store says, and what the service really got.

mod faults;
mod history;
pub(super) mod memory;
mod order;
mod quota;
mod restart;
mod service;
mod settling;
mod town;
