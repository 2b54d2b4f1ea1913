//! A simulated Slack channel behind an incoming webhook: `docs/channels/slack.md` as a program. Stricter than the real one
//! in two points: it refuses fields that it does not know, and text that is not escaped as Slack asks.

use http::{HeaderValue, Method, Response};
use jiff::SignedDuration;
use serde_json::Value;

use super::Posted;
use super::sim::{Call, Simulator, behind, page};
use crate::clock::Timestamp;
use crate::model::{AccountId, Mode};

/// Longer texts are cut here.
const MAX_CHARACTERS: usize = 40_000;
/// One a second, and so many at once.
const BURST: usize = 10;

/// The channel.
pub struct Slack {
    account: AccountId,
    token: String,
    /// The token of the webhook whose channel only we see.
    hidden: String,
    taken: Vec<Timestamp>,
}

impl Slack {
    const TEAM: &'static str = "T0VARDKASE";
    const HOOK: &'static str = "B0OVNINGEN";

    /// A channel without messages.
    pub fn new(account: &AccountId) -> Self {
        Self {
            account: account.clone(),
            token: hex::encode(rand::random::<[u8; 12]>()),
            hidden: hex::encode(rand::random::<[u8; 12]>()),
            taken: Vec::new(),
        }
    }

    fn take(&mut self, call: &mut Call<'_>) -> Result<(), (u16, &'static str)> {
        if call.guise.revoked {
            return Err((404, "no_service"));
        }
        let path: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        match path.as_slice() {
            ["services", Self::TEAM, Self::HOOK, token] if *token == self.token => {}
            ["services", Self::TEAM, Self::HOOK, _] => return Err((403, "invalid_token")),
            ["services", Self::TEAM, _, _] => return Err((404, "no_service")),
            _ => return Err((404, "no_team")),
        }
        if *call.method != Method::POST {
            return Err((400, "invalid_payload"));
        }
        let kind = call.header("content-type").unwrap_or_default();
        let body = call.json().filter(|_| kind.starts_with("application/json"));
        let Some(Value::Object(body)) = body else {
            return Err((400, "invalid_payload"));
        };
        let is_known = |(name, value): (&String, &Value)| match name.as_str() {
            "text" => value.is_string(),
            "mrkdwn" | "unfurl_links" | "unfurl_media" => value.is_boolean(),
            _ => false,
        };
        if !body.iter().all(is_known) {
            return Err((400, "invalid_payload"));
        }
        let text = body.get("text").and_then(Value::as_str).unwrap_or_default();
        if text.trim().is_empty() {
            return Err((400, "no_text"));
        }
        let cut: String = text.chars().take(MAX_CHARACTERS).collect();
        let formats = body.get("mrkdwn").and_then(Value::as_bool).unwrap_or(true);
        let (shown, links) = read(&cut, formats).ok_or((400, "invalid_payload"))?;
        let second = SignedDuration::from_secs(1);
        let long_ago =
            |at: &Timestamp| call.now.duration_since(*at) >= second * i32::try_from(BURST).unwrap_or(1);
        self.taken.retain(|at| !long_ago(at));
        if self.taken.len() >= BURST {
            return Err((429, "rate_limited"));
        }
        self.taken.push(call.now);
        let number = call.book.posts.len();
        call.book.posts.push(Posted {
            account: self.account.clone(),
            mode: Mode::Live,
            // The webhook does not tell it.
            remote_id: format!("{}.{number:06}", call.now.as_second()),
            text: shown,
            links,
            key: None,
            in_reply_to: None,
            recipient: None,
            subject: None,
            at: call.now,
            deleted_at: None,
            edited_at: None,
            pinned: false,
            pictures: Vec::new(),
            shown: std::collections::BTreeMap::new(),
        });
        Ok(())
    }
}

/// What people see of a text in Slack's markup, and what they can click; `None` if it is not well formed. Signs of
/// formatting are lost to them where it `formats`: stricter than Slack, which looks for a second one.
fn read(text: &str, formats: bool) -> Option<(String, Vec<String>)> {
    let plain_of = |text: &str| {
        if formats {
            text.replace(['*', '_', '~', '`'], "")
        } else {
            text.to_owned()
        }
    };
    let (mut shown, mut links) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some(at) = rest.find(['<', '>', '&']) {
        let (plain, marked) = rest.split_at(at);
        shown.push_str(&plain_of(plain));
        if let Some(inside) = marked.strip_prefix('<') {
            let (inside, after) = inside.split_once('>')?;
            let (address, label) = inside.split_once('|').unwrap_or((inside, inside));
            let address = entities(address)?;
            if !address.starts_with("https://") {
                return None;
            }
            shown.push_str(&entities(label)?);
            links.push(address);
            rest = after;
        } else {
            let end = marked.find(';')?;
            let (entity, after) = marked.split_at(end);
            shown.push_str(&entities(&format!("{entity};"))?);
            rest = after.strip_prefix(';')?;
        }
    }
    shown.push_str(&plain_of(rest));
    Some((shown, links))
}

/// The three entities decoded; `None` if there is an `&` that begins none.
fn entities(text: &str) -> Option<String> {
    let mut out = String::new();
    for (n, part) in text.split('&').enumerate() {
        if n == 0 {
            out.push_str(part);
            continue;
        }
        let (name, rest) = part.split_once(';')?;
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            _ => return None,
        });
        out.push_str(rest);
    }
    Some(out)
}

impl Simulator for Slack {
    fn secrets(&self) -> Vec<(String, String)> {
        let hook = |token: &str| {
            format!(
                "https://hooks.slack.com/services/{}/{}/{token}",
                Self::TEAM,
                Self::HOOK
            )
        };
        vec![
            ("webhook".to_owned(), hook(&self.token)),
            ("backstage_webhook".to_owned(), hook(&self.hidden)),
        ]
    }

    fn answer(&mut self, call: Call<'_>) -> Response<Vec<u8>> {
        let (hidden, public) = (self.hidden.clone(), self.token.clone());
        behind(call, &hidden, &public, |call| self.reply(call))
    }
}

impl Slack {
    fn reply(&mut self, mut call: Call<'_>) -> Response<Vec<u8>> {
        let (status, text) = match self.take(&mut call) {
            Ok(()) => (200, "ok"),
            Err(refusal) => refusal,
        };
        let mut answer = page(Some(text));
        *answer.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::BAD_REQUEST);
        if status == 429 {
            answer
                .headers_mut()
                .insert("retry-after", HeaderValue::from_static("10"));
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_read_as_people_see_it() {
        let read_text = |text| read(text, true).map(|(shown, _)| shown);
        assert_eq!(read_text("a &lt;b&gt; &amp; c").as_deref(), Some("a <b> & c"));
        let (shown, links) = read("Se <https://a.se/?b=1&amp;c=2> och <https://b.se|sidan>.", true).unwrap();
        assert_eq!(shown, "Se https://a.se/?b=1&c=2 och sidan.");
        assert_eq!(links, ["https://a.se/?b=1&c=2", "https://b.se"]);
        for wrong in ["a & b", "a < b", "a > b", "<!channel>", "<@U1>", "&nbsp;", "&"] {
            assert_eq!(read(wrong, true), None, "{wrong}");
        }
        assert_eq!(read_text("*a* _b_ ~c~ `d`").as_deref(), Some("a b c d"));
        let (shown, _) = read("*a* _b_ ~c~ `d`", false).unwrap();
        assert_eq!(shown, "*a* _b_ ~c~ `d`");
    }
}
