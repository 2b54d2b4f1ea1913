//! What Meta tells later, by its webhook: that it may call us at all, and how far messages have come. Nothing is believed
//! that is not signed with the app's secret (reference page §4).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::verdict;
use crate::channel::Call;
use crate::model::{Arrival, Arrived, Reason, Recipient};

/// What stands before a delivery's id in `biz_opaque_callback_data`.
pub(super) const OURS: &str = "vardkase:";
/// Longest challenge that is said back: Meta's are ten digits.
const MAX_CHALLENGE: usize = 200;

fn refused(text: &str) -> Reason {
    Reason::new("report-refused", text)
}

/// What is to be said back when Meta asks whether we are the ones who set the webhook up. Only letters and digits are:
/// what we answer must be nothing that a browser could run.
pub(super) fn challenge(query: &[(String, String)], token: &str) -> Result<String, Reason> {
    let one = |name| Call::one(query, name).unwrap_or_default();
    if one("hub.mode") != "subscribe" {
        return Err(refused("hub.mode is not subscribe"));
    }
    verify_slices_are_equal(one("hub.verify_token").as_bytes(), token.as_bytes())
        .map_err(|_| refused("hub.verify_token is not ours"))?;
    let challenge = one("hub.challenge");
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if challenge.is_empty() || challenge.len() > MAX_CHALLENGE || !challenge.bytes().all(plain) {
        return Err(refused("hub.challenge cannot be said back"));
    }
    Ok(challenge.to_owned())
}

/// Whether the body is signed with the app's secret: `sha256=` and the HMAC-SHA256 in hex.
pub(super) fn check(signature: Option<&str>, body: &[u8], secret: &str) -> Result<(), Reason> {
    let wrong = || refused("its signature is not that of the app");
    let given = signature
        .and_then(|text| text.strip_prefix("sha256="))
        .and_then(|text| hex::decode(text).ok())
        .ok_or_else(wrong)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| wrong())?;
    mac.update(body);
    // Takes the same time wherever the first difference stands.
    mac.verify_slice(&given).map_err(|_| wrong())
}

/// How far our messages from this number have come. What is of no message of ours, and what else Meta tells, is passed
/// over: it is told to whoever has the app.
pub(super) fn arrivals(body: &[u8], number: &str) -> Result<Vec<Arrival>, Reason> {
    let body: Value = serde_json::from_slice(body).map_err(|_| refused("it is not JSON"))?;
    if body["object"] != "whatsapp_business_account" {
        return Err(refused("it is not about a WhatsApp account"));
    }
    let all = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let changes = all(&body["entry"])
        .into_iter()
        .flat_map(|entry| all(&entry["changes"]));
    let ours = changes
        .filter(|change| change["field"] == "messages")
        .filter(|change| change["value"]["metadata"]["phone_number_id"] == number);
    let statuses = ours.flat_map(|change| all(&change["value"]["statuses"]));
    Ok(statuses.filter_map(|status| arrival(&status)).collect())
}

fn arrival(status: &Value) -> Option<Arrival> {
    let delivery = status["biz_opaque_callback_data"].as_str()?.strip_prefix(OURS)?;
    let arrived = match status["status"].as_str()? {
        "sent" => Arrived::Sent,
        // Whoever has read it has it.
        "delivered" | "read" => Arrived::Delivered,
        "failed" => Arrived::Failed,
        _ => return None,
    };
    let remote_id = status["id"].as_str().filter(|id| super::is_id(id));
    let reason = (arrived == Arrived::Failed)
        .then(|| verdict::of_report(&status["errors"], recipient(status).as_ref()));
    Some(Arrival {
        delivery: delivery.parse().ok()?,
        arrived,
        remote_id: remote_id.map(str::to_owned),
        reason,
    })
}

/// Whom the message was for, so that no word of Meta's shows the number.
fn recipient(status: &Value) -> Option<Recipient> {
    let digits = status["recipient_id"].as_str()?.trim_start_matches('+');
    let is_number = (5..=20).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| Recipient::new(format!("+{digits}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ID: &str = "0193f5b0-0000-7000-8000-000000000001";

    fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    #[test]
    fn the_signature_is_that_of_the_reference_page() {
        let body = br#"{"object":"whatsapp_business_account","entry":[]}"#;
        let right = "sha256=ae9f8435eb526185100faadf37aa3022fce9a01689082c87618a688db675c96f";
        assert!(check(Some(right), body, "testappsecret").is_ok());
        assert!(check(Some(right), body, "another").is_err());
        assert!(check(Some(right), b"{}", "testappsecret").is_err());
        for wrong in [
            None,
            Some(""),
            Some("sha256="),
            Some("sha256=ae9f"),
            Some("sha1=ae9f8435eb526185100faadf37aa3022fce9a01689082c87618a688db675c96f"),
            right.strip_prefix("sha256="),
        ] {
            assert!(check(wrong, body, "testappsecret").is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_whoever_knows_the_token_hears_the_challenge() {
        let right = [
            ("hub.mode", "subscribe"),
            ("hub.verify_token", "vi"),
            ("hub.challenge", "1158201444"),
        ];
        assert_eq!(challenge(&fields(&right), "vi").unwrap(), "1158201444");
        for (name, value) in [
            ("hub.mode", "unsubscribe"),
            ("hub.verify_token", "v"),
            ("hub.verify_token", "via"),
            ("hub.verify_token", ""),
            ("hub.challenge", ""),
            ("hub.challenge", "<script>"),
        ] {
            let mut query = fields(&right);
            query.retain(|(key, _)| key != name);
            query.extend(fields(&[(name, value)]));
            assert!(challenge(&query, "vi").is_err(), "{name}={value}");
        }
        let mut twice = fields(&right);
        twice.extend(fields(&[("hub.verify_token", "vi")]));
        assert!(challenge(&twice, "vi").is_err());
    }

    #[test]
    fn each_status_means_how_far_the_message_has_come() {
        let told = |change: Value| {
            let body =
                json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]});
            arrivals(body.to_string().as_bytes(), "1065").unwrap()
        };
        let status = |word: &str, data: &str| json!({"id": "wamid.x", "status": word, "biz_opaque_callback_data": data});
        let change = |field: &str, number: &str, statuses: Value| json!({"field": field, "value": {"metadata": {"phone_number_id": number}, "statuses": statuses}});
        let ours = format!("vardkase:{ID}");
        let failed = |errors: Value| {
            let mut status = status("failed", &ours);
            status["recipient_id"] = "46701740699".into();
            status["errors"] = errors;
            let all = told(change("messages", "1065", json!([status])));
            all[0].reason.clone().unwrap()
        };
        let undeliverable = json!({"code": 131_026, "title": "Message undeliverable", "message": "Message undeliverable",
            "error_data": {"details": "46701740699 cannot receive it"}});
        let other = json!({"code": 131_049, "title": "not now"});
        let reason = failed(json!([undeliverable]));
        assert_eq!(reason.code, "whatsapp-131026");
        assert!(
            reason.ends_recipient()
                && !reason.text.contains("46701740699")
                && reason.text.contains("cannot receive"),
            "{reason}"
        );
        assert_eq!(
            failed(json!([other, undeliverable])).code,
            "whatsapp-131026",
            "the one that lasts counts"
        );
        let for_now = failed(json!([other]));
        assert!(
            for_now.code == "whatsapp-131049"
                && !for_now.ends_recipient()
                && for_now.text.contains("not now")
        );
        for nothing in [json!(null), json!([]), json!([{"code": "131026"}]), json!(7)] {
            assert_eq!(failed(nothing.clone()).code, "whatsapp-failed", "{nothing}");
        }
        let sent = told(change("messages", "1065", json!([status("sent", &ours)])));
        assert_eq!(
            (sent[0].remote_id.as_deref(), &sent[0].reason),
            (Some("wamid.x"), &None)
        );
        for (word, arrived) in [
            ("sent", Some(Arrived::Sent)),
            ("delivered", Some(Arrived::Delivered)),
            ("read", Some(Arrived::Delivered)),
            ("failed", Some(Arrived::Failed)),
            ("deleted", None),
        ] {
            let told = told(change("messages", "1065", json!([status(word, &ours)])));
            assert_eq!(told.first().map(|one| one.arrived), arrived, "{word}");
        }
        for passed_over in [
            change("messages", "1066", json!([status("sent", &ours)])),
            change(
                "message_template_status_update",
                "1065",
                json!([status("sent", &ours)]),
            ),
            change(
                "messages",
                "1065",
                json!([status("sent", "annat"), status("sent", "vardkase:../x")]),
            ),
            json!({"field": "messages", "value": 7}),
        ] {
            assert_eq!(told(passed_over.clone()), [], "{passed_over}");
        }
        for body in ["", "[]", "{}", r#"{"object":"page"}"#] {
            assert!(arrivals(body.as_bytes(), "1065").is_err(), "{body}");
        }
    }
}
