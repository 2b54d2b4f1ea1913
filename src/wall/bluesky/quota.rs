//! What an account may spend in a window of time.

use std::collections::VecDeque;

/// What was spent lately.
pub(super) struct Window {
    pub(super) limits: &'static [(i64, u32)],
    pub(super) spent: VecDeque<(i64, u32)>,
}

impl Window {
    pub(super) fn new(limits: &'static [(i64, u32)]) -> Self {
        Self {
            limits,
            spent: VecDeque::new(),
        }
    }

    pub(super) fn within(&self, now: i64, span: i64) -> u32 {
        let recent = self.spent.iter().filter(|(at, _)| *at > now - span);
        recent.map(|(_, points)| points).sum()
    }

    /// Spends the points, or says which limit forbids it; the headers of that limit come with either.
    pub(super) fn spend(&mut self, now: i64, points: u32) -> (bool, [(&'static str, String); 4]) {
        let tightest = self
            .limits
            .iter()
            .min_by_key(|(span, most)| most.saturating_sub(self.within(now, *span)))
            .copied()
            .unwrap_or((3600, u32::MAX));
        let (span, most) = tightest;
        let used = self.within(now, span);
        let allowed = used + points <= most;
        if allowed && points > 0 {
            self.spent.push_back((now, points));
            while self.spent.len() > 40_000 {
                self.spent.pop_front();
            }
        }
        let oldest = self.spent.iter().find(|(at, _)| *at > now - span);
        let reset = oldest.map_or(now, |(at, _)| *at) + span;
        let left = most.saturating_sub(used + if allowed { points } else { 0 });
        let headers = [
            ("ratelimit-limit", most.to_string()),
            ("ratelimit-remaining", left.to_string()),
            ("ratelimit-reset", reset.to_string()),
            ("ratelimit-policy", format!("{most};w={span}")),
        ];
        (allowed, headers)
    }
}
