//! End to end: the real binary, its command line and its socket, against the wall. The wall's ledger is the truth.

mod alert;
mod command;
mod correct;
mod demo;
mod door;
mod drills;
mod guard;
mod health;
mod life;
mod lists;
mod main_job;
mod order;
mod outside;
mod picture;
mod practice;
mod preview;
mod reach;
mod record;
mod register;
mod retract;
mod terminal;
mod time;
mod told;
mod trouble;
mod vault;
