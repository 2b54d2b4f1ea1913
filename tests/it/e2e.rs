//! End to end: the real binary, its command line and its socket, against the wall. The wall's ledger is the truth.

mod alert;
mod command;
mod connect;
mod correct;
mod door;
mod guard;
mod life;
mod lists;
mod main_job;
mod order;
mod picture;
mod practice;
mod preview;
mod record;
mod retract;
mod terminal;
mod time;
mod trouble;
mod vault;
