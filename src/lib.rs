//! Vårdkase: one command publishes a prepared message on every account of a municipality, and proves what happened.
//!
//! ```text
//! command ──► compose ──► check ──► store ──► dispatch ──► channel ──► journal ──► confirm
//! ```
//!
//! One direction, no way back up. Fronts (`cli`, `http`) parse, authenticate and show; all call [`app`], the only caller
//! of compose, store and dispatch. Channels know nothing of the store; the store knows nothing of channels. What they
//! share is the plain data in [`model`], [`clock`] and [`config`].

pub mod app;
pub mod channel;
pub mod check;
pub mod cli;
pub mod clock;
pub mod compose;
pub mod config;
pub mod confirm;
pub mod connect;
pub mod demo;
pub mod dispatch;
pub mod drill;
pub mod failpoint;
pub mod http;
pub mod lock;
pub mod mail;
pub mod model;
pub mod register;
pub mod serve;
pub mod store;
pub mod telemetry;
pub mod vault;
pub mod verify;
pub mod wall;
