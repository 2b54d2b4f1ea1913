//! WhatsApp through the Cloud API: an approved template, filled with the message's text, to each number of a list.
//!
//! Who writes first may send templates only. There is no idempotency key and no history to search without the id that
//! the lost answer held: an unknown outcome stays unknown, and the account's policy decides.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use url::Url;

use super::phone;
use super::transport::{Answer, Effect, Transport, below};
use super::{
    Call, Capabilities, Channel, Heard, Identity, Kind, Pace, Parts, Profile, SecretName, Secrets, Settings,
    Shown, WallSite,
};
use crate::compose::TextRule;
use crate::config::section::Section;
use crate::model::AddressKind;
use crate::model::{
    Cost, Kind as Does, ListId, Post, Price, Proof, Question, Reason, Receipt, Rendering, SendError, Settled,
    Unit,
};

mod face;
mod report;
mod verdict;

/// What Meta signs its reports with: the app's secret. Without it no report is believed.
const APP_SECRET: &str = "app_secret";
/// What Meta shows when it first calls the listener: chosen by us, and typed in at Meta.
const VERIFY_TOKEN: &str = "verify_token";

/// WhatsApp.
pub static KIND: Kind = Kind {
    id: "whatsapp",
    about: "WhatsApp, an approved template to each number of a list",
    can: Capabilities {
        proof: Proof::Unproven,
        thread: false,
        edit: false,
        retract: false,
        pin: false,
        picture: false,
        link_card: false,
        recipients: true,
        by_hand: false,
        profile: true,
        backstage: false,
    },
    secrets: {
        const fn named(name: &'static str, required: bool) -> SecretName {
            SecretName {
                name,
                required,
                internal: false,
            }
        }
        const SECRETS: &[SecretName] = &[
            named("access_token", true),
            named(APP_SECRET, false),
            named(VERIFY_TOKEN, false),
        ];
        SECRETS
    },
    // 80 a second for each sending number (reference page §6), with headroom.
    pace: Pace {
        attempts: 3000,
        per: Duration::from_mins(1),
        burst: 40,
        parallel: 8,
    },
    verify_every: Duration::ZERO,
    read,
};

/// The sending number of every simulated account: the adapter of a drill does not even know the real one.
pub(crate) const PRACTICE_NUMBER: &str = "1065";
/// Its business account.
pub(crate) const PRACTICE_ACCOUNT: &str = "1066";
/// What its templates are called, before the number of their variables.
pub(crate) const PRACTICE_TEMPLATE: &str = "krisinformation_";

/// What a template may come to when it is filled, in the most cautious reading of "characters" (reference page §2).
const MAX_BODY: usize = 1024;
/// The longest headline that compose lets through.
const MAX_HEADLINE: usize = 200;
/// How many characters a template is taken to have around its variables.
const DEFAULT_FIXED: u32 = 100;
/// Lives until 2028 at least (changelog of the Graph API, read 2026-08).
const DEFAULT_VERSION: &str = "v26.0";

/// What fills a variable of the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filling {
    Headline,
    Text,
}

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    const NUMBER: &str = "digits only, in quotation marks, such as \"106540352242922\"";
    let number: Option<String> = section.required("phone_number_id", NUMBER);
    let account: Option<String> = section.optional("business_account_id", NUMBER);
    for (key, id) in [("phone_number_id", &number), ("business_account_id", &account)] {
        if id.as_ref().is_some_and(|id| !is_number(id)) {
            section.problem(
                key,
                format!("must be the id that Meta shows beside the phone number: {NUMBER}"),
            );
        }
    }
    let template: Option<String> =
        section.required("template", "the template's name such as \"krisinformation_v1\"");
    if template.as_ref().is_some_and(|name| !is_template(name)) {
        section.problem("template", "must be the template's name: a-z, 0-9 and _ only");
    }
    let language = section
        .optional::<String>("language", "the template's language such as \"sv\" or \"en_US\"")
        .unwrap_or_else(|| "sv".to_owned());
    if !is_language(&language) {
        section.problem(
            "language",
            "must be the template's language such as \"sv\" or \"en_US\"",
        );
    }
    let variables = variables(section);
    let fixed = section
        .number_within("fixed_length", 20, 800)
        .unwrap_or(DEFAULT_FIXED);
    let list: Option<ListId> = section.required("list", "the id of a [list.<id>]");
    let price = section.parsed::<Price>("price", "an amount and a currency such as \"0.45 SEK\"");
    let version = section
        .optional::<String>("version", "a version of the Graph API, such as \"v26.0\"")
        .unwrap_or_else(|| DEFAULT_VERSION.to_owned());
    let is_version = version
        .strip_prefix('v')
        .and_then(|version| version.split_once('.'))
        .is_some_and(|(major, minor)| is_number(major) && is_number(minor));
    if !is_version {
        section.problem(
            "version",
            format!("{version:?} is no version; expected one such as \"v26.0\""),
        );
    }
    let base_url = section.address("base_url", false);
    if section.is_broken() {
        return None;
    }
    Some(Box::new(WhatsApp {
        number: number?,
        account,
        template: template?,
        language,
        variables,
        fixed: usize::try_from(fixed).ok()?,
        list: list?,
        price,
        version,
        base_url: match base_url {
            Some(url) => url,
            None => Url::parse("https://graph.facebook.com").ok()?,
        },
    }))
}

fn variables(section: &mut Section<'_>) -> Vec<Filling> {
    const EXPECTED: &str = "a list of \"headline\" and \"text\" such as [\"text\"]";
    let Some(given) = section.strings("parameters", EXPECTED) else {
        return vec![Filling::Text];
    };
    let mut all = Vec::new();
    for entry in given {
        let filling = match entry.value.as_str() {
            "headline" => Filling::Headline,
            "text" => Filling::Text,
            _ => {
                section.problem_at(entry.place, "parameters", format!("expected {EXPECTED}"));
                continue;
            }
        };
        if all.contains(&filling) {
            section.problem_at(entry.place, "parameters", "names the same twice");
        } else {
            all.push(filling);
        }
    }
    if !all.contains(&Filling::Text) && !section.is_broken() {
        section.problem("parameters", "must hold \"text\": sender and link stand in it");
    }
    all
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 30 && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_template(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    !text.is_empty() && text.len() <= 512 && text.bytes().all(fits)
}

fn is_language(text: &str) -> bool {
    let (language, region) = text.split_once('_').unwrap_or((text, "SE"));
    (2..=3).contains(&language.len())
        && language.bytes().all(|b| b.is_ascii_lowercase())
        && region.len() == 2
        && region.bytes().all(|b| b.is_ascii_uppercase())
}

/// The channel's own keys.
#[derive(Debug, Clone)]
struct WhatsApp {
    number: String,
    account: Option<String>,
    template: String,
    language: String,
    variables: Vec<Filling>,
    fixed: usize,
    list: ListId,
    price: Option<Price>,
    version: String,
    base_url: Url,
}

impl Settings for WhatsApp {
    fn text_rule(&self) -> TextRule {
        let headline = if self.variables.contains(&Filling::Headline) {
            MAX_HEADLINE
        } else {
            0
        };
        TextRule {
            limit: Some(MAX_BODY.saturating_sub(self.fixed + headline)),
            unit: Unit::Utf16,
            also: None,
        }
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            number: PRACTICE_NUMBER.to_owned(),
            account: self.account.as_ref().map(|_| PRACTICE_ACCOUNT.to_owned()),
            template: format!("{PRACTICE_TEMPLATE}{}", self.variables.len()),
            language: "sv".to_owned(),
            base_url: site.base.clone(),
            ..self.clone()
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("base_url", self.base_url.to_string()),
            ("phone_number_id", self.number.clone()),
            ("template", self.template.clone()),
            ("language", self.language.clone()),
        ];
        all.extend(
            self.account
                .clone()
                .map(|account| ("business_account_id", account)),
        );
        all
    }

    fn list(&self) -> Option<&ListId> {
        Some(&self.list)
    }

    fn addresses_of(&self) -> AddressKind {
        AddressKind::Phone
    }

    fn as_shown(&self, rendering: &Rendering, _kind: Does) -> Vec<Shown> {
        let filled = (1..)
            .zip(self.filled(rendering))
            .map(|(number, text)| Shown::new(format!("template {}, {{{{{number}}}}}", self.template), text));
        filled.collect()
    }

    fn cost(&self, _text: &str, recipients: usize) -> Option<Cost> {
        let price = self.price.as_ref()?;
        Some(Cost::new(1, "one template message", Some(price), recipients))
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        parts.secrets.require("access_token")?;
        Ok(Arc::new(Account {
            settings: self.clone(),
            secrets: parts.secrets,
            http: parts.http,
        }))
    }
}

impl WhatsApp {
    /// What stands in the template's variables, in their order.
    fn filled(&self, rendering: &Rendering) -> Vec<String> {
        let fill = |filling: &Filling| match filling {
            Filling::Headline => one_line(&rendering.headline),
            Filling::Text => one_line(&rendering.text),
        };
        self.variables.iter().map(fill).collect()
    }
}

/// The adapter of one account.
#[derive(Debug)]
struct Account {
    settings: WhatsApp,
    secrets: Arc<dyn Secrets>,
    http: Transport,
}

#[async_trait]
impl Channel for Account {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let to = phone::recipient(post)?;
        let body = self.message(post, to.address());
        let request = self
            .http
            .request(Method::POST, self.url(&[&self.settings.number, "messages"]))
            .json(&body);
        let answer = self.send(request, Effect::Writes).await?;
        if !answer.is_success() {
            return Err(verdict::of_write(&answer, Some(to)));
        }
        let body = answer.json().unwrap_or(Value::Null);
        let message = &body["messages"][0];
        let id = message["id"].as_str().filter(|id| is_id(id));
        let id = id.ok_or_else(|| verdict::unreadable(&answer))?;
        let note = match message["message_status"].as_str() {
            Some("paused") => {
                let text = "WhatsApp has paused the template: too many people blocked or reported it";
                return Err(SendError::Refused(Reason::new("template-paused", text)));
            }
            Some("held_for_quality_assessment") => {
                Some("WhatsApp holds the message back until it has judged the template".to_owned())
            }
            Some(_) | None => None,
        };
        Ok(Receipt {
            note,
            ..Receipt::of(id)
        })
    }

    async fn settle(&self, _question: &Question) -> Result<Settled, SendError> {
        Ok(Settled::Unclear(Reason::new(
            "whatsapp",
            "WhatsApp has no key and no history to look in; ask the recipient, or see the template's insights in WhatsApp Manager",
        )))
    }

    fn hears(&self) -> bool {
        self.secrets.require(APP_SECRET).is_ok()
    }

    fn hear(&self, call: &Call<'_>) -> Result<Heard, Reason> {
        if call.asks {
            let token = self.secrets.require(VERIFY_TOKEN)?;
            return report::challenge(call.query, token.expose_secret()).map(Heard::Echo);
        }
        let secret = self.secrets.require(APP_SECRET)?;
        report::check(call.signature, call.body, secret.expose_secret())?;
        report::arrivals(call.body, &self.settings.number).map(Heard::Arrivals)
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        self.identify().await
    }

    async fn profile(&self) -> Result<Option<Profile>, SendError> {
        self.portray().await.map(Some)
    }
}

impl Account {
    fn url(&self, segments: &[&str]) -> Url {
        let path = std::iter::once(self.settings.version.as_str()).chain(segments.iter().copied());
        below(&self.settings.base_url, path)
    }

    async fn send(&self, request: reqwest::RequestBuilder, effect: Effect) -> Result<Answer, SendError> {
        let token = self
            .secrets
            .require("access_token")
            .map_err(SendError::Credential)?;
        self.http
            .send(request.bearer_auth(token.expose_secret()), effect)
            .await
    }

    async fn get(&self, url: Url) -> Result<Value, SendError> {
        let answer = self
            .send(self.http.request(Method::GET, url), Effect::Reads)
            .await?;
        if !answer.is_success() {
            return Err(verdict::of_read(&answer));
        }
        answer.json().ok_or_else(|| no_sense("it is not JSON"))
    }

    /// The template, filled. The same bytes for every attempt.
    fn message(&self, post: &Post, to: &str) -> Value {
        let filled = self.settings.filled(&post.rendering);
        let parameters: Vec<Value> = filled
            .into_iter()
            .map(|text| json!({"type": "text", "text": text}))
            .collect();
        json!({
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": to.trim_start_matches('+'),
            "type": "template",
            "template": {
                "name": self.settings.template,
                "language": {"policy": "deterministic", "code": self.settings.language},
                "components": [{"type": "body", "parameters": parameters}],
            },
            // Comes back in the reports of what became of the message.
            "biz_opaque_callback_data": format!("{}{}", report::OURS, post.key),
        })
    }
}

/// The text in the form that a variable takes: no line break, no tab, no run of blanks. Paragraphs become sentences. Never
/// longer than the text was.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for paragraph in text.split("\n\n") {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        if words.is_empty() {
            continue;
        }
        if let Some(last) = line.chars().next_back() {
            let ends = matches!(last, '.' | '!' | '?' | ':' | ';' | ',');
            line.push_str(if ends { " " } else { ". " });
        }
        line.push_str(&words.join(" "));
    }
    line
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 300 && id.bytes().all(|b| b.is_ascii_graphic())
}

fn no_sense(what: &str) -> SendError {
    SendError::NotSent(Reason::new(
        "unreadable",
        format!("the answer of WhatsApp makes no sense: {what}"),
    ))
}

#[cfg(test)]
mod tests;
