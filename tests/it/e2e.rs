//! End to end: the real binary, its command line and its socket, against the wall. The wall's ledger is the truth.

mod alert;
mod command;
mod life;
mod lists;
mod main_job;
mod order;
mod practice;
mod record;
mod trouble;
