//! States, times and proof classes in the Swedish that staff read.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::clock::{self, Timestamp};
use crate::model::{Arrivals, DeliveryReport, Kind, Proof, Purpose, STOOD_IN_FOR, State};

/// Where a delivery stands.
pub fn state(state: State) -> &'static str {
    match state {
        State::Queued => "väntar",
        State::Sending => "skickas nu",
        State::Published => "publicerat",
        State::Edited => "publicerat, sedan ändrat",
        State::Retracted => "borttaget",
        State::Refused => "nekat av tjänsten",
        State::Unknown => "oklart, undersöks",
        State::Held => "stoppat, väntar på beslut",
        State::Manual => "görs för hand",
        State::Expired => "hann inte ut i tid",
        State::Superseded => "ersatt av ett nyare meddelande",
        State::Cancelled => "avbrutet",
    }
}

/// Whether it was not sent because an account that stands in for it was faster.
pub fn is_stood_in_for(delivery: &DeliveryReport) -> bool {
    let code = delivery.error.as_ref().map(|error| error.code.as_str());
    delivery.state == State::Superseded && code == Some(STOOD_IN_FOR)
}

/// Names as they stand in a sentence: `a`, `a och b`, `a, b och c`.
pub fn listed(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} och {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// How a delivery stands: its state, told for what the delivery is for.
pub fn standing(delivery: &DeliveryReport) -> &'static str {
    match (delivery.purpose, delivery.state) {
        (_, State::Superseded) if is_stood_in_for(delivery) => "ersatt av ett annat konto",
        (Purpose::Edit, State::Published) => "ändrat",
        (Purpose::Edit, State::Sending) => "ändras nu",
        (Purpose::Pin, State::Published) => "fäst överst",
        (Purpose::Unpin, State::Published) => "inte längre fäst",
        (Purpose::Retract, State::Published) => "borttaget",
        (Purpose::Retract, State::Sending) => "tas bort nu",
        (Purpose::Retract, State::Manual) => "tas bort för hand",
        (Purpose::Retract, State::Expired) => "hann inte tas bort i tid",
        (_, other) => state(other),
    }
}

/// How surely a second post is avoided, in a word or two.
pub fn proof(proof: Proof) -> &'static str {
    match proof {
        Proof::Keyed => "nyckel",
        Proof::ReadBack => "återläsning",
        Proof::Unproven => "kan inte bevisas",
    }
}

/// What a kind of broadcast is called.
pub fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Initial => "första meddelandet",
        Kind::Update => "uppdatering",
        Kind::Correction => "rättelse",
        Kind::AllClear => "faran över",
    }
}

/// How many of those that a message went out to have it: `framme: 812 av 900, 3 kommer inte fram, 85 vet vi inte än`.
pub fn arrived(arrivals: &Arrivals, out: u64) -> String {
    let mut said = vec![format!("framme: {} av {out}", arrivals.delivered)];
    if arrivals.failed > 0 {
        said.push(format!("{} kommer inte fram", arrivals.failed));
    }
    match arrivals.unknown(out) {
        0 => {}
        unknown => said.push(format!("{unknown} vet vi inte än")),
    }
    said.join(", ")
}

const WEEKDAYS: [&str; 7] = [
    "måndag", "tisdag", "onsdag", "torsdag", "fredag", "lördag", "söndag",
];

const MONTHS: [&str; 12] = [
    "januari",
    "februari",
    "mars",
    "april",
    "maj",
    "juni",
    "juli",
    "augusti",
    "september",
    "oktober",
    "november",
    "december",
];

/// `måndag 23 november 2026 kl. 16.58` in the zone of that name; in UTC, and it says so, if there is no such zone.
pub fn moment(at: Timestamp, zone: &str) -> String {
    let (local, suffix) = in_zone(at, zone);
    let weekday = usize::try_from(local.weekday().to_monday_zero_offset()).unwrap_or(0);
    format!(
        "{} {} kl. {:02}.{:02}{suffix}",
        WEEKDAYS.get(weekday).unwrap_or(&""),
        date(local.date()),
        local.hour(),
        local.minute()
    )
}

/// `12 mars 2024`.
pub fn date(date: Date) -> String {
    let month = usize::try_from(date.month()).unwrap_or(1) - 1;
    format!(
        "{} {} {}",
        date.day(),
        MONTHS.get(month).unwrap_or(&""),
        date.year()
    )
}

/// `kl. 16.58.20`, for what happens the same day.
pub fn time_of_day(at: Timestamp, zone: &str) -> String {
    let (local, suffix) = in_zone(at, zone);
    format!(
        "kl. {:02}.{:02}.{:02}{suffix}",
        local.hour(),
        local.minute(),
        local.second()
    )
}

/// `kl. 02.10`, with the day if it is another one than today.
pub fn since(at: Timestamp, now: Timestamp, zone: &str) -> String {
    let (local, suffix) = in_zone(at, zone);
    if local.date() != in_zone(now, zone).0.date() {
        return moment(at, zone);
    }
    format!("kl. {:02}.{:02}{suffix}", local.hour(), local.minute())
}

fn in_zone(at: Timestamp, zone: &str) -> (jiff::ZonedDateTime, &'static str) {
    match TimeZone::get(zone) {
        Ok(zone) => (at.to_zoned_datetime(zone), ""),
        Err(_) => (at.to_zoned_datetime(TimeZone::UTC), " (UTC)"),
    }
}

/// How long something takes: `1,4 s`, `3 min 20 s`.
pub fn span(length: std::time::Duration) -> String {
    let from = clock::from_micros(0);
    duration(from, clock::later(from, length))
}

/// `1,4 s`, `3 min 20 s`, `2 tim 5 min`; rounded down, zero if `to` lies before `from`.
pub fn duration(from: Timestamp, to: Timestamp) -> String {
    let passed = clock::until(from, to);
    let seconds = passed.as_secs();
    match seconds {
        0..60 => format!("{seconds},{} s", passed.subsec_millis() / 100),
        60..3600 => with_rest(seconds / 60, "min", seconds % 60, "s"),
        _ => with_rest(seconds / 3600, "tim", seconds % 3600 / 60, "min"),
    }
}

fn with_rest(whole: u64, unit: &str, rest: u64, small: &str) -> String {
    if rest == 0 {
        format!("{whole} {unit}")
    } else {
        format!("{whole} {unit} {rest} {small}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn times_are_told_in_the_municipalitys_zone() {
        let zone = "Europe/Stockholm";
        assert_eq!(
            moment(at("2026-11-23T15:58:20Z"), zone),
            "måndag 23 november 2026 kl. 16.58"
        );
        assert_eq!(
            moment(at("2026-06-30T22:05:00Z"), zone),
            "onsdag 1 juli 2026 kl. 00.05"
        );
        assert_eq!(
            moment(at("2026-10-25T01:30:00Z"), zone),
            "söndag 25 oktober 2026 kl. 02.30"
        );
        assert_eq!(time_of_day(at("2026-11-23T15:58:20Z"), zone), "kl. 16.58.20");
        let now = at("2026-11-23T23:10:00Z");
        assert_eq!(since(at("2026-11-23T23:05:00Z"), now, zone), "kl. 00.05");
        assert_eq!(
            since(at("2026-11-23T22:55:00Z"), now, zone),
            "måndag 23 november 2026 kl. 23.55"
        );
        assert_eq!(
            moment(at("2026-01-01T09:03:00Z"), "Mars/Olympus"),
            "torsdag 1 januari 2026 kl. 09.03 (UTC)"
        );
    }

    #[test]
    fn what_nobody_knows_is_said_so() {
        let mut arrivals = Arrivals {
            sent: 85,
            delivered: 812,
            failed: 3,
        };
        let told = arrived(&arrivals, 900);
        assert_eq!(told, "framme: 812 av 900, 3 kommer inte fram, 85 vet vi inte än");
        arrivals = Arrivals::default();
        assert_eq!(arrived(&arrivals, 2), "framme: 0 av 2, 2 vet vi inte än");
        arrivals.delivered = 2;
        assert_eq!(arrived(&arrivals, 2), "framme: 2 av 2");
    }

    #[test]
    fn durations_are_short() {
        let from = at("2026-11-23T15:00:00Z");
        for (micros, words) in [
            (-5, "0,0 s"),
            (1_450_000, "1,4 s"),
            (59_990_000, "59,9 s"),
            (60_000_000, "1 min"),
            (200_000_000, "3 min 20 s"),
            (7_500_000_000, "2 tim 5 min"),
        ] {
            let to = clock::from_micros(from.as_microsecond() + micros);
            assert_eq!(duration(from, to), words);
        }
    }
}
