//! The daemon against its simulators, and the store against both engines. One binary; a file per promise.
#![allow(
    clippy::unwrap_used,
    reason = "this crate is a test throughout; the lint knows only functions marked so"
)]
#![allow(clippy::print_stdout, reason = "figures that the tests measured are printed")]

mod api;
mod backstage;
mod bluesky;
mod compose;
mod config;
mod confirm;
mod confirmations;
mod conformance;
mod direct;
mod dispatch;
mod drills;
mod e2e;
mod email;
mod facebook;
mod faults;
mod hooks;
mod instagram;
mod linkedin;
mod mails;
mod mastodon;
mod matrix;
mod ntfy;
mod postgres;
mod real;
mod real_bluesky;
mod real_matrix;
mod real_push;
mod real_sftp;
mod real_smtp;
mod register;
mod sftp;
mod sms;
mod smtp_tls;
mod social;
mod staff_hooks;
mod store;
#[path = "../support/mod.rs"]
mod support;
mod telegram;
mod threads;
mod unit_file;
mod vault;
mod wall;
mod web_push;
mod webdav;
mod whatsapp;
mod wishes;
mod wordpress;
mod x;
