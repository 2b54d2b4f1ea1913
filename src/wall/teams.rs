//! A simulated Workflows webhook of Microsoft Teams: `docs/channels/teams.md` as a program. Stricter than the real one in
//! one point: a card that Teams would not show, which there the flow finds out later and tells nobody, is refused at once.
//! That a flow is started and then fails is the fault `answer` with status 202.

use std::collections::BTreeMap;

use http::{HeaderValue, Method, Response};
use serde_json::{Value, json};
use url::Url;

use super::Posted;
use super::server::is_loopback;
use super::sim::{Call, Simulator, behind, reply};
use crate::model::{AccountId, Mode};

/// Largest message.
const MAX_MESSAGE: usize = 28 * 1024;
/// Requests in a minute.
const PER_MINUTE: u32 = 120;

type Answer = Response<Vec<u8>>;

/// The flow, its address and its channel.
pub(super) struct Teams {
    account: AccountId,
    flow: String,
    /// The flow whose channel only we see.
    hidden: String,
    signature: String,
    minute: (i64, u32),
}

fn error(status: u16, code: &str, text: &str) -> Answer {
    reply(status, &json!({ "error": { "code": code, "message": text } }))
}

impl Teams {
    /// A flow that was never run.
    pub fn new(account: &AccountId) -> Self {
        Self {
            account: account.clone(),
            flow: hex::encode(rand::random::<[u8; 16]>()),
            hidden: hex::encode(rand::random::<[u8; 16]>()),
            signature: hex::encode(rand::random::<[u8; 20]>()),
            minute: (0, 0),
        }
    }

    fn path(flow: &str) -> String {
        format!("/powerautomate/automations/direct/workflows/{flow}/triggers/manual/paths/invoke")
    }

    fn route(&mut self, call: &mut Call<'_>) -> Answer {
        let minute = call.now.as_second().div_euclid(60);
        if self.minute.0 != minute {
            self.minute = (minute, 0);
        }
        self.minute.1 += 1;
        if self.minute.1 > PER_MINUTE {
            let mut answer = error(429, "TooManyRequests", "Rate limit is exceeded.");
            answer
                .headers_mut()
                .insert("retry-after", HeaderValue::from_static("60"));
            return answer;
        }
        if call.guise.revoked {
            return error(404, "WorkflowNotFound", "The workflow could not be found.");
        }
        if call.path != Self::path(&self.flow) {
            return error(404, "WorkflowNotFound", "The workflow could not be found.");
        }
        if call.query("api-version").is_none() {
            return error(400, "MissingApiVersionParameter", "The api-version is missing.");
        }
        let run = (call.query("sp"), call.query("sv"));
        if run != (Some("/triggers/manual/run"), Some("1.0")) || call.query("sig") != Some(&self.signature) {
            return error(
                401,
                "DirectApiAuthorizationRequired",
                "The request is not authorized.",
            );
        }
        match *call.method {
            Method::POST => self.start(call),
            _ => error(405, "MethodNotAllowed", "The trigger takes POST."),
        }
    }

    fn start(&mut self, call: &mut Call<'_>) -> Answer {
        if call.body.len() > MAX_MESSAGE {
            return error(413, "RequestEntityTooLarge", "The message is too large.");
        }
        if call.header("content-type") != Some("application/json") {
            return error(400, "InvalidRequestContent", "The content type is not JSON.");
        }
        let card = match call
            .json()
            .ok_or("not JSON".to_owned())
            .and_then(|body| Card::read(&body))
        {
            Ok(card) => card,
            Err(wrong) => return error(400, "InvalidRequestContent", &wrong),
        };
        let run = format!("0858{}", hex::encode(rand::random::<[u8; 12]>()));
        call.book.posts.push(Posted {
            account: self.account.clone(),
            mode: Mode::Live,
            remote_id: run.clone(),
            text: card.text,
            links: card.links,
            key: None,
            in_reply_to: None,
            recipient: None,
            subject: card.heading,
            at: call.now,
            deleted_at: None,
            edited_at: None,
            pinned: false,
            pictures: Vec::new(),
            shown: BTreeMap::from([("button".to_owned(), card.button)]),
        });
        let mut answer = reply(202, &Value::Null);
        answer.body_mut().clear();
        if let Ok(run) = HeaderValue::from_str(&run) {
            answer.headers_mut().insert("x-ms-workflow-run-id", run);
        }
        answer
    }
}

/// What a member of the channel sees.
struct Card {
    heading: Option<String>,
    text: String,
    links: Vec<String>,
    button: String,
}

impl Card {
    fn read(body: &Value) -> Result<Self, String> {
        only(body, &["type", "attachments"])?;
        is(body, "type", "message")?;
        let attachments = body["attachments"].as_array().map(Vec::as_slice);
        let Some([attachment]) = attachments else {
            return Err("one attachment".to_owned());
        };
        only(attachment, &["contentType", "contentUrl", "content"])?;
        is(
            attachment,
            "contentType",
            "application/vnd.microsoft.card.adaptive",
        )?;
        let card = &attachment["content"];
        only(
            card,
            &["$schema", "type", "version", "msteams", "body", "actions"],
        )?;
        is(card, "type", "AdaptiveCard")?;
        is(card, "version", "1.4")?;
        only(&card["msteams"], &["width"])?;
        let mut seen = Self {
            heading: None,
            text: String::new(),
            links: Vec::new(),
            button: String::new(),
        };
        for block in card["body"].as_array().ok_or("body must be a list")? {
            seen.block(block)?;
        }
        for action in card["actions"].as_array().ok_or("actions must be a list")? {
            only(action, &["type", "title", "url"])?;
            is(action, "type", "Action.OpenUrl")?;
            let url = words(action, "url")?;
            let page = Url::parse(&url).map_err(|error| error.to_string())?;
            // The demonstration's own site is on loopback, without TLS.
            if page.scheme() != "https" && !is_loopback(&page) {
                return Err("url must be https".to_owned());
            }
            seen.button = words(action, "title")?;
            seen.link(url);
        }
        Ok(seen)
    }

    fn block(&mut self, block: &Value) -> Result<(), String> {
        only(
            block,
            &["type", "text", "size", "weight", "style", "wrap", "spacing"],
        )?;
        is(block, "type", "TextBlock")?;
        if block["wrap"] != true {
            return Err("a text that is not wrapped is cut".to_owned());
        }
        let (text, links) = super::markdown::read(&words(block, "text")?);
        for link in links {
            self.link(link);
        }
        if block["style"] == "heading" {
            self.heading = Some(text);
            return Ok(());
        }
        if !self.text.is_empty() {
            let gap = if block["spacing"] == "None" { "\n" } else { "\n\n" };
            self.text.push_str(gap);
        }
        self.text.push_str(&text);
        Ok(())
    }

    fn link(&mut self, link: String) {
        if !self.links.contains(&link) {
            self.links.push(link);
        }
    }
}

fn only(value: &Value, known: &[&str]) -> Result<(), String> {
    let Value::Object(fields) = value else {
        return Err("must be an object".to_owned());
    };
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("unknown field {name}")),
        None => Ok(()),
    }
}

fn is(value: &Value, name: &str, wanted: &str) -> Result<(), String> {
    if value[name] == wanted {
        Ok(())
    } else {
        Err(format!("{name} must be {wanted}"))
    }
}

fn words(value: &Value, name: &str) -> Result<String, String> {
    let text = value[name].as_str().filter(|text| !text.is_empty());
    text.map(str::to_owned)
        .ok_or_else(|| format!("{name} must be a text"))
}

impl Simulator for Teams {
    fn secrets(&self) -> Vec<(String, String)> {
        let host = "https://default0.00.environment.api.powerplatform.com:443";
        let query = "api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0";
        let address = |flow: &str| format!("{host}{}?{query}&sig={}", Self::path(flow), self.signature);
        vec![
            ("webhook".to_owned(), address(&self.flow)),
            ("backstage_webhook".to_owned(), address(&self.hidden)),
        ]
    }

    fn answer(&mut self, call: Call<'_>) -> Answer {
        let (hidden, public) = (self.hidden.clone(), self.flow.clone());
        behind(call, &hidden, &public, |mut call| self.route(&mut call))
    }
}
