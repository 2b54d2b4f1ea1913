//! Figures and how they are shown.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// One measured figure.
#[derive(Debug)]
pub struct Figure {
    key: &'static str,
    about: &'static str,
    value: f64,
    unit: &'static str,
    floor: Option<f64>,
    /// What the ratio must not go beyond.
    most: Option<f64>,
}

impl Figure {
    pub fn alone(key: &'static str, about: &'static str, value: f64, unit: &'static str) -> Self {
        Self {
            key,
            about,
            value,
            unit,
            floor: None,
            most: None,
        }
    }

    /// With what the same work takes without us, in the same run.
    pub fn against(
        key: &'static str,
        about: &'static str,
        value: f64,
        unit: &'static str,
        floor: f64,
    ) -> Self {
        Self {
            floor: Some(floor),
            ..Self::alone(key, about, value, unit)
        }
    }

    /// The same, and the run has failed if it is more than `most` times its floor.
    pub fn at_most(self, most: f64) -> Self {
        Self {
            most: Some(most),
            ..self
        }
    }

    /// What is wrong with it.
    pub fn beyond(&self) -> Option<String> {
        let (ratio, most) = (self.ratio()?, self.most?);
        (ratio > most).then(|| format!("{}: {ratio:.2} times the first, at most {most}", self.about))
    }

    fn ratio(&self) -> Option<f64> {
        self.floor.map(|floor| self.value / floor)
    }
}

pub fn seconds_to_millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

/// The middle one.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[allow(clippy::print_stdout, reason = "the table is what this program is for")]
pub fn print(figures: &[Figure]) {
    println!("{:<52} {:>10} {:>10} {:>6}", "figure", "value", "floor", "ratio");
    for figure in figures {
        let number =
            |value: Option<f64>, digits| value.map_or("–".to_owned(), |value| format!("{value:.digits$}"));
        println!(
            "{:<52} {:>10} {:>10} {:>6} {}",
            figure.about,
            number(Some(figure.value), 1),
            number(figure.floor, 1),
            number(figure.ratio(), 2),
            figure.unit,
        );
    }
}

#[allow(clippy::print_stdout, reason = "the object is what this program is for")]
pub fn print_json(figures: &[Figure]) {
    let object: Map<String, Value> = figures
        .iter()
        .map(|figure| {
            let value = json!({
                "value": figure.value,
                "unit": figure.unit,
                "floor": figure.floor,
                "ratio": figure.ratio(),
            });
            (figure.key.to_owned(), value)
        })
        .collect();
    println!("{}", Value::Object(object));
}
