//! When a post that is not there may be believed not to be there. Services show a new post late, and a request that we
//! gave up on may still be at work on the other side.
//!
//! A call of [`super::Channel::settle`] must be short, so that it looks twice and no more; until enough time has passed
//! since the attempt the answer is "not yet", and the dispatcher asks again.

use std::time::Duration;

use crate::model::{Question, Reason, Receipt, SendError, Settled};

/// Longest pause between two looks within one call.
const LONGEST_STEP: Duration = Duration::from_secs(5);

/// How patiently an account is read back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    wait: Duration,
    /// The pause between two looks.
    pub(super) step: Duration,
}

/// What one look at an account gave.
#[derive(Debug)]
pub(super) enum Search {
    /// Our post, and nobody else's.
    Found(Receipt),
    /// Everything since the attempt was seen.
    NotThere,
    /// There was more than we read.
    TooMuch,
}

impl Search {
    /// What one look settles, if anything. `most` is how many posts a look sees.
    pub(super) fn settles(
        looked: Result<Self, SendError>,
        most: usize,
    ) -> Result<Option<Settled>, SendError> {
        match looked {
            Ok(Self::Found(receipt)) => Ok(Some(Settled::Found(receipt))),
            Ok(Self::NotThere) => Ok(None),
            Ok(Self::TooMuch) => {
                let text = format!("not among {most} posts since then, and there are more");
                Ok(Some(Settled::Unclear(Reason::new("read-back-incomplete", text))))
            }
            // We may not read: nothing here will ever tell.
            Err(SendError::Refused(reason)) => Ok(Some(Settled::Unclear(reason))),
            Err(other) => Err(other),
        }
    }
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

    /// Waits before a look of a call, the first of which is 0.
    pub(super) async fn before(self, look: u32) {
        if look > 0 {
            tokio::time::sleep(self.step).await;
        }
    }

    /// What it means that the looks of this call found nothing.
    pub(super) fn absent(self, question: &Question) -> Result<Settled, SendError> {
        if question.age() + self.step >= self.wait {
            return Ok(Settled::Absent);
        }
        Err(SendError::NotSent(Reason::new(
            "not-yet",
            "the post is not there, but may still come to show",
        )))
    }
}
