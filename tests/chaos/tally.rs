//! What was counted over all kills, and how it is told.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

/// The counts of a run. The wall's ledger is the truth; the reports are what the daemon says of it.
#[derive(Debug, Default)]
pub struct Tally {
    /// Processes killed.
    pub kills: usize,
    /// Broadcasts that were answered 2xx, in the end.
    pub broadcasts: usize,
    /// Deliveries of those broadcasts.
    pub deliveries: usize,
    /// Neither in the ledger nor shown as unknown or left to a person.
    pub lost: usize,
    /// More than once in the ledger, by the account's proof class.
    pub doubled: BTreeMap<String, usize>,
    /// Said to be published, but not in the ledger; or not at rest at all.
    pub untrue: usize,
    /// Held because nobody can tell whether an attempt got through.
    pub unknown: usize,
    /// Attempts of unproven deliveries that were on disk without an outcome when the process was killed.
    pub cut_off: usize,
    /// Of those, the request had reached the wall and its answer had not left.
    pub in_window: usize,
    /// Deliveries to keyed or read-back accounts that were cut off likewise, and settled without a person.
    pub settled: usize,
    /// Posts that the messages of accounts with threads consist of, all told.
    pub parts: usize,
    /// Pictures that stand in published messages.
    pub pictures: usize,
    /// Messages that the daemon says went without their picture.
    pub noted: usize,
    /// From exec to the first resumed request, or to the first change.
    pub resumed: Vec<Duration>,
    /// What went wrong, in words.
    pub faults: Vec<String>,
}

impl Tally {
    pub fn doubled(&self, proof: &str) -> usize {
        self.doubled.get(proof).copied().unwrap_or_default()
    }

    fn resume(&self, percent: usize) -> f64 {
        let mut all = self.resumed.clone();
        all.sort_unstable();
        let place = (all.len() * percent).div_ceil(100).saturating_sub(1);
        all.get(place).map_or(0.0, Duration::as_secs_f64)
    }

    pub fn p50(&self) -> f64 {
        self.resume(50)
    }

    pub fn p99(&self) -> f64 {
        self.resume(99)
    }

    /// One object with every figure.
    pub fn json(&self) -> Value {
        let round = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
        json!({
            "kills": self.kills,
            "broadcasts": self.broadcasts,
            "deliveries": self.deliveries,
            "lost": self.lost,
            "doubled": {
                "keyed": self.doubled("keyed"),
                "read_back": self.doubled("read-back"),
                "unproven": self.doubled("unproven"),
            },
            "untrue": self.untrue,
            "unknown": self.unknown,
            "unproven_cut_off": self.cut_off,
            "unproven_in_window": self.in_window,
            "settled": self.settled,
            "thread_parts": self.parts,
            "pictures": self.pictures,
            "without_picture": self.noted,
            "resumes": self.resumed.len(),
            "resume_p50_s": round(self.p50()),
            "resume_p99_s": round(self.p99()),
        })
    }

    /// The same as a table.
    pub fn table(&self) -> String {
        let Value::Object(figures) = self.json() else {
            return String::new();
        };
        let rows = figures.iter().map(|(name, value)| format!("{name:<20} {value}"));
        rows.collect::<Vec<_>>().join("\n")
    }
}
