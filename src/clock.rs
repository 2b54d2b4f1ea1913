//! The only source of time. Everything that decides takes the time as a value; everything that acts asks a [`Clock`].
//!
//! Wall time is for what people read and what must hold across a restart (`not_before`, validity). Waiting inside the
//! process uses tokio's monotonic clock and never compares the two.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub use jiff::Timestamp;

/// Tells the time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present moment, UTC, microsecond resolution.
    fn now(&self) -> Timestamp;
}

/// A clock that everyone may hold.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's clock"
    )]
    fn now(&self) -> Timestamp {
        // Cut to microseconds, so that what was written to the store compares equal to what is in memory.
        from_micros(Timestamp::now().as_microsecond())
    }
}

/// A clock that tests set.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl TestClock {
    /// A clock that stands still at `at`.
    pub fn at(at: Timestamp) -> Self {
        Self(AtomicI64::new(at.as_microsecond()))
    }

    /// Moves the clock by `by`, backwards if negative.
    pub fn advance(&self, by: jiff::SignedDuration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// The moment `micros` microseconds after the epoch; the nearest representable one if it lies outside jiff's range.
pub fn from_micros(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// `at + by`, held at the end of time instead of overflowing.
pub fn later(at: Timestamp, by: std::time::Duration) -> Timestamp {
    let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    from_micros(at.as_microsecond().saturating_add(micros))
}

/// The moment `by` before `at`.
pub fn earlier(at: Timestamp, by: std::time::Duration) -> Timestamp {
    let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    from_micros(at.as_microsecond().saturating_sub(micros))
}

/// How far two clocks that are both kept may be apart: within this nobody has to think of it.
pub const SLACK: std::time::Duration = std::time::Duration::from_mins(2);

/// How long from `from` until `to`; zero if `to` has passed.
pub fn until(from: Timestamp, to: Timestamp) -> std::time::Duration {
    let micros = to.as_microsecond().saturating_sub(from.as_microsecond());
    std::time::Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
