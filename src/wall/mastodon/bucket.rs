//! Limits of requests per window.

use crate::clock::{Timestamp, from_micros};

/// A limit of so many requests per window; windows are aligned to the epoch.
pub(super) struct Bucket {
    pub(super) limit: u32,
    pub(super) seconds: i64,
    pub(super) window: i64,
    pub(super) used: u32,
}

impl Bucket {
    pub(super) const fn new(limit: u32, seconds: i64) -> Self {
        Self {
            limit,
            seconds,
            window: 0,
            used: 0,
        }
    }

    /// Counts a request. Whether it is still within the limit.
    pub(super) fn take(&mut self, now: Timestamp) -> bool {
        let window = now.as_second().div_euclid(self.seconds);
        if window != self.window {
            self.window = window;
            self.used = 0;
        }
        self.used = self.used.saturating_add(1);
        self.used <= self.limit
    }

    pub(super) fn left(&self) -> u32 {
        self.limit.saturating_sub(self.used)
    }

    pub(super) fn reset(&self) -> Timestamp {
        from_micros((self.window + 1) * self.seconds * 1_000_000)
    }
}
