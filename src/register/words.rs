//! Channels and dates in the Swedish that people read.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::clock::Timestamp;
pub use crate::confirm::words::date;

/// What a channel is called.
pub fn channel(id: &str) -> &str {
    match id {
        "bluesky" => "Bluesky",
        "discord" => "Discord",
        "email" => "E-post",
        "facebook-page" => "Facebook",
        "file" | "http-json" | "wordpress" => "Webbplats",
        "instagram" => "Instagram",
        "linkedin" => "LinkedIn",
        "manual" => "Annan kanal",
        "mastodon" => "Mastodon",
        "matrix" => "Matrix",
        "mattermost" => "Mattermost",
        "ntfy" => "ntfy",
        "slack" => "Slack",
        "sms-46elks" => "Sms",
        "teams" => "Teams",
        "telegram" => "Telegram",
        "threads" => "Threads",
        "web-push" => "Notiser i webbläsaren",
        "webhook" => "Annan tjänst",
        "whatsapp" => "WhatsApp",
        "x" => "X",
        other => other,
    }
}

/// The day in the zone of that name, UTC if there is none.
pub fn day(at: Timestamp, zone: &str) -> Date {
    at.to_zoned_datetime(zone_of(zone)).date()
}

/// `12 mars 2024` in the zone of that name.
pub fn day_text(at: Timestamp, zone: &str) -> String {
    date(day(at, zone))
}

/// The first moment of a day in the zone of that name.
pub fn midnight(date: Date, zone: &str) -> Option<Timestamp> {
    let start = date.to_zoned_datetime(zone_of(zone)).ok()?;
    Some(start.timestamp())
}

fn zone_of(zone: &str) -> TimeZone {
    TimeZone::get(zone).unwrap_or(TimeZone::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_in_the_municipality() {
        let date = Date::new(2026, 7, 1).unwrap_or_default();
        let at = midnight(date, "Europe/Stockholm").map(|at| at.to_string());
        assert_eq!(at.as_deref(), Some("2026-06-30T22:00:00Z"));
        assert_eq!(super::date(date), "1 juli 2026");
    }
}
