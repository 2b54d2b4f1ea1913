//! Which request a fault strikes. Pure bookkeeping.

use std::time::Duration;

use super::{Fault, How};

/// The faults of one account, in the order given.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Armed>);

#[derive(Debug)]
struct Armed {
    fault: Fault,
    passed: u32,
    struck: u32,
}

/// What happens to one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Strike {
    /// To be waited before anything else.
    pub delay: Duration,
    /// What happens then; nothing out of the ordinary if `None`.
    pub how: Option<How>,
}

impl Faults {
    pub fn add(&mut self, fault: Fault) {
        self.0.push(Armed {
            fault,
            passed: 0,
            struck: 0,
        });
    }

    /// Decides on a request and counts it. Delays add up with whatever else strikes; of the rest the first one does.
    pub fn strike(&mut self, method: &str, path: &str) -> Strike {
        let mut strike = Strike::default();
        for armed in &mut self.0 {
            if !armed.meets(method, path) {
                continue;
            }
            if armed.passed < armed.fault.after {
                armed.passed += 1;
                continue;
            }
            armed.struck += 1;
            if let How::Delay(millis) = armed.fault.how {
                strike.delay += Duration::from_millis(millis);
            } else {
                strike.how = Some(armed.fault.how.clone());
                break;
            }
        }
        self.0.retain(|armed| !armed.is_spent());
        strike
    }
}

impl Armed {
    fn meets(&self, method: &str, path: &str) -> bool {
        let method_fits = self
            .fault
            .method
            .as_deref()
            .is_none_or(|m| m.eq_ignore_ascii_case(method));
        let path_fits = self.fault.path.as_deref().is_none_or(|p| path.contains(p));
        method_fits && path_fits
    }

    fn is_spent(&self) -> bool {
        self.fault.times != 0 && self.struck >= self.fault.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(how: How) -> Fault {
        Fault {
            how,
            path: None,
            method: None,
            after: 0,
            times: 1,
        }
    }

    #[test]
    fn a_fault_strikes_only_what_it_names_and_only_so_often() {
        let mut faults = Faults::default();
        faults.add(Fault {
            path: Some("/statuses".into()),
            method: Some("post".into()),
            after: 1,
            times: 2,
            ..fault(How::Cut)
        });
        let struck: Vec<bool> = [
            ("GET", "/api/v1/statuses"),
            ("POST", "/api/v1/apps"),
            ("POST", "/api/v1/statuses"),
            ("POST", "/api/v1/statuses"),
            ("POST", "/api/v1/statuses"),
            ("POST", "/api/v1/statuses"),
        ]
        .into_iter()
        .map(|(method, path)| faults.strike(method, path).how.is_some())
        .collect();
        assert_eq!(struck, [false, false, false, true, true, false]);
    }

    #[test]
    fn a_fault_with_no_end_strikes_for_ever_and_delays_add_to_it() {
        let mut faults = Faults::default();
        faults.add(Fault {
            times: 0,
            ..fault(How::Delay(20))
        });
        faults.add(Fault {
            times: 0,
            ..fault(How::Hang)
        });
        for _ in 0..100 {
            assert_eq!(
                faults.strike("GET", "/"),
                Strike {
                    delay: Duration::from_millis(20),
                    how: Some(How::Hang)
                }
            );
        }
    }

    #[test]
    fn faults_are_tried_in_the_order_given() {
        let mut faults = Faults::default();
        faults.add(fault(How::Cut));
        faults.add(fault(How::Hang));
        assert_eq!(faults.strike("GET", "/").how, Some(How::Cut));
        assert_eq!(faults.strike("GET", "/").how, Some(How::Hang));
        assert_eq!(faults.strike("GET", "/").how, None);
    }
}
