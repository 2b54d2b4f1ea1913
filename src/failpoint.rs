//! Named points at which the process kills itself, so that a test can prove what a crash there leaves behind.
//!
//! Compiled into every build, so that what is tested is what is released; armed only by the environment variable
//! `VARDKASE_FAILPOINT=<name>[:<n>]`, at the n-th passage (1 if not given). Whoever can set a process's environment can
//! kill it anyway.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every point that can be armed.
pub const NAMES: &[&str] = &[
    "accept-commit.before",
    "accept-commit.after",
    "lease-commit.before",
    "lease-commit.after",
    "expansion-commit.before",
    "expansion-commit.after",
    "attempt-commit.before",
    "attempt-commit.after",
    "connect.before",
    "connect.after",
    "request-written.before",
    "request-written.after",
    "response-read.before",
    "response-read.after",
    "outcome-commit.before",
    "outcome-commit.after",
    "vault-rotate.key-made",
    "vault-rotate.sealed",
    "vault-rotate.done",
    "refresh-commit.before",
    "refresh-commit.after",
];

static ARMED: OnceLock<Option<(String, u64)>> = OnceLock::new();
static PASSED: AtomicU64 = AtomicU64::new(0);

/// Reads the environment once. Call it first in `main`.
///
/// # Errors
/// If the variable names no point.
pub fn arm() -> Result<(), String> {
    let armed = match std::env::var("VARDKASE_FAILPOINT") {
        Err(_) => None,
        Ok(text) => {
            let (name, nth) = text.split_once(':').unwrap_or((text.as_str(), "1"));
            let nth = nth
                .parse()
                .map_err(|_| format!("VARDKASE_FAILPOINT: {nth:?} is not a number"))?;
            if !NAMES.contains(&name) {
                return Err(format!(
                    "VARDKASE_FAILPOINT: no point named {name:?}; known: {}",
                    NAMES.join(", ")
                ));
            }
            Some((name.to_owned(), nth))
        }
    };
    ARMED
        .set(armed)
        .map_err(|_| "failpoint::arm was called twice".to_owned())
}

/// Whether any point is armed.
pub fn is_armed() -> bool {
    matches!(ARMED.get(), Some(Some(_)))
}

/// Ends the process as SIGKILL would if `name` is armed and this is the passage that was asked for.
pub fn hit(name: &'static str) {
    if let Some(Some((armed, nth))) = ARMED.get()
        && armed == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *nth
    {
        // No destructor, no flush, no handler runs: what is not on disk is gone.
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).ok();
        std::process::abort();
    }
}
