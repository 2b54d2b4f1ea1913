//! When a post that is not there may be believed not to be there. Services show a new post late, and a request that we
//! gave up on may still be at work on the other side.
//!
//! A call of [`super::Channel::settle`] must be short, so that it looks twice and no more; until enough time has passed
//! since the attempt the answer is "not yet", and the dispatcher asks again.

use std::time::Duration;

use crate::clock;
use crate::model::{Question, Reason, SendError, Settled};

/// Longest pause between two looks within one call.
const LONGEST_STEP: Duration = Duration::from_secs(5);

/// How patiently an account is read back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    wait: Duration,
    /// The pause between two looks.
    pub(super) step: Duration,
}

impl Patience {
    /// Looks per call.
    pub(super) const LOOKS: u32 = 2;

    /// Believes absence `wait` after the attempt began.
    pub(super) fn of(wait: Duration) -> Self {
        Self {
            wait,
            step: (wait / 5).min(LONGEST_STEP),
        }
    }

    /// What it means that the looks of this call found nothing.
    pub(super) fn absent(self, question: &Question) -> Result<Settled, SendError> {
        let looked = clock::later(question.now, self.step);
        if looked >= clock::later(question.since, self.wait) {
            return Ok(Settled::Absent);
        }
        Err(SendError::NotSent(Reason::new(
            "not-yet",
            "the post is not there, but may still come to show",
        )))
    }
}
