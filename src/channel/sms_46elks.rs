//! Text messages through 46elks, one to each number of a list.
//!
//! A paid message has no idempotency key there. An attempt of unknown outcome is looked up in the account's history, by
//! recipient, sender, words and time, before anything is sent again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use super::backstage::harmless;
use super::patience::Patience;
use super::phone::{self, is_e164};
use super::portrait::flaw;
use super::transport::{Answer, Effect, Transport, below};
use super::{
    Backstage, Call, Capabilities, Caveat, Channel, Heard, Identity, Kind, Pace, Parts, SecretName, Secrets,
    Settings, Shown, WallSite,
};
use crate::compose::{TextRule, sms};
use crate::config::section::Section;
use crate::model::AddressKind;
use crate::model::{
    Arrival, Arrived, Cost, DRY_RUN, DeliveryId, Kind as Does, ListId, Post, Price, Proof, Question, Reason,
    Receipt, Recipient, Rendering, SendError, Settled, Unit,
};

mod history;
mod verdict;

use history::{Search, Wanted};

/// Text messages through 46elks.
pub static KIND: Kind = Kind {
    id: "sms-46elks",
    about: "Text messages through 46elks, one to each number of a list",
    can: Capabilities {
        proof: Proof::ReadBack,
        thread: false,
        edit: false,
        retract: false,
        pin: false,
        picture: false,
        link_card: false,
        recipients: true,
        by_hand: false,
        profile: false,
        backstage: true,
    },
    secrets: {
        const SECRETS: &[SecretName] = &[
            SecretName {
                name: "username",
                required: true,
                internal: false,
            },
            SecretName {
                name: "password",
                required: true,
                internal: false,
            },
        ];
        SECRETS
    },
    // 100 a minute unless 46elks has raised it; what comes faster waits in their queue (reference page §2.5).
    pace: Pace {
        attempts: 90,
        per: Duration::from_mins(1),
        burst: 10,
        parallel: 4,
    },
    verify_every: Duration::ZERO,
    read,
};

/// Recommended for alerts: a longer text is a page, not a text message (reference page §6).
const DEFAULT_MAX_PARTS: u32 = 3;
/// More than this no phone puts together again.
const MOST_PARTS: u32 = 10;
/// How long after an attempt its message may take to show in the history: absence is not believed before.
const DEFAULT_SETTLE_WAIT: Duration = Duration::from_secs(30);
/// The same on the practice wall, where a message shows at once.
const WALL_SETTLE_WAIT: Duration = Duration::from_secs(2);
/// Below this balance, in whole units of the account's currency, the account does not count as ready.
const DEFAULT_LEAST_BALANCE: u32 = 1;
/// One of the numbers that the Swedish authority keeps for films and books: nobody has it.
const NOBODY: &str = "+46701740699";
/// Ten-thousandths of the account's currency in one.
const ONE: i64 = 10_000;

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    let from: Option<String> = section.required(
        "from",
        "the sender: 3 to 11 letters a-z and digits such as \"Nassjo\", or a number such as \"+46766861234\"",
    );
    if from.as_ref().is_some_and(|from| !is_sender(from)) {
        section.problem(
            "from",
            "must be 3 to 11 letters a-z and digits, a letter first and without å, ä, ö or blanks, such as \"Nassjo\"; \
             or a number with its country such as \"+46766861234\"",
        );
    }
    let list: Option<ListId> = section.required("list", "the id of a [list.<id>]");
    let max_parts = section
        .number_within("max_parts", 1, MOST_PARTS)
        .unwrap_or(DEFAULT_MAX_PARTS);
    let price = section.parsed::<Price>("price", "an amount and a currency such as \"0.35 SEK\"");
    let least_balance = section
        .number_within("least_balance", 0, 1_000_000)
        .unwrap_or(DEFAULT_LEAST_BALANCE);
    let dryrun = section.optional("dryrun", "true or false").unwrap_or(false);
    let whendelivered = section.address("whendelivered", false);
    let settle_wait = section.duration("settle_wait").unwrap_or(DEFAULT_SETTLE_WAIT);
    let base_url = section.address("base_url", false);
    if section.is_broken() {
        return None;
    }
    Some(Box::new(Sms {
        from: from?,
        list: list?,
        max_parts: usize::try_from(max_parts).ok()?,
        price,
        least_balance,
        dryrun,
        whendelivered,
        settle_wait,
        base_url: match base_url {
            Some(url) => url,
            None => Url::parse("https://api.46elks.com/a1").ok()?,
        },
    }))
}

/// What 46elks takes as a sender: a name, or a number with its country.
fn is_sender(text: &str) -> bool {
    let is_name = (3..=11).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric());
    is_name || is_e164(text)
}

/// The channel's own keys.
#[derive(Debug, Clone)]
struct Sms {
    from: String,
    list: ListId,
    max_parts: usize,
    price: Option<Price>,
    least_balance: u32,
    dryrun: bool,
    whendelivered: Option<Url>,
    settle_wait: Duration,
    base_url: Url,
}

impl Settings for Sms {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: Some(self.max_parts),
            unit: Unit::SmsParts,
            also: None,
        }
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            base_url: site.base.clone(),
            // Nobody outside hears of an exercise.
            whendelivered: None,
            settle_wait: self.settle_wait.min(WALL_SETTLE_WAIT),
            ..self.clone()
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        vec![("base_url", self.base_url.to_string())]
    }

    fn list(&self) -> Option<&ListId> {
        Some(&self.list)
    }

    fn addresses_of(&self) -> AddressKind {
        AddressKind::Phone
    }

    fn as_shown(&self, rendering: &Rendering, _kind: Does) -> Vec<Shown> {
        vec![
            Shown::new("from", &self.from),
            Shown::new("text", &rendering.text),
        ]
    }

    fn caveats(&self) -> &'static [Caveat] {
        if self.dryrun { &[Caveat::DryRun] } else { &[] }
    }

    fn cost(&self, text: &str, recipients: usize) -> Option<Cost> {
        let size = sms::size(text);
        Some(Cost::new(size.parts, size, self.price.as_ref(), recipients))
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        parts.secrets.require("username")?;
        parts.secrets.require("password")?;
        Ok(Arc::new(Account {
            settings: self.clone(),
            secrets: parts.secrets,
            http: parts.http,
        }))
    }
}

/// The adapter of one account.
#[derive(Debug)]
struct Account {
    settings: Sms,
    secrets: Arc<dyn Secrets>,
    http: Transport,
}

#[async_trait]
impl Channel for Account {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let to = phone::recipient(post)?;
        let text = post.rendering.text.as_str();
        let mut form = vec![
            ("from", self.settings.from.clone()),
            ("to", to.address().to_owned()),
            ("message", text.to_owned()),
        ];
        if self.settings.dryrun {
            form.push(("dryrun", "yes".to_owned()));
        } else if let Some(url) = &self.settings.whendelivered {
            form.push(("whendelivered", self.report_address(url, post)?));
        }
        let request = self.http.request(Method::POST, self.url(&["sms"])).form(&form);
        let answer = self.send(request, Effect::Writes).await?;
        if !answer.is_success() {
            return Err(verdict::of_write(&answer, &self.hidden(Some(to))));
        }
        let body = answer.json().unwrap_or(Value::Null);
        let note = self.note(&body, sms::size(text).parts);
        if self.settings.dryrun {
            return Err(dry_run(&body, note.as_deref()));
        }
        let id = history::id(&body).ok_or_else(|| verdict::unreadable(&answer))?;
        if body["status"] == "failed" {
            return Err(SendError::Refused(history::failed()));
        }
        Ok(Receipt {
            note,
            ..Receipt::of(id)
        })
    }

    async fn settle(&self, question: &Question) -> Result<Settled, SendError> {
        if self.settings.dryrun {
            // Nothing was sent, whatever became of the attempt.
            return Ok(Settled::Absent);
        }
        let to = phone::recipient(&question.post)?;
        let wanted = Wanted {
            to: to.address(),
            from: &self.settings.from,
            text: &question.post.rendering.text,
            since: question.earliest(),
            until: question.latest(),
            taken: &question.taken,
        };
        let patience = Patience::of(self.settings.settle_wait);
        let mut hidden = false;
        for look in 0..Patience::LOOKS {
            if look > 0 {
                tokio::time::sleep(patience.step).await;
            }
            match self.search(&wanted).await {
                Ok(Search::Found(receipt)) => return Ok(Settled::Found(receipt)),
                Ok(Search::Failed(reason)) => return Ok(Settled::Refused(reason)),
                Ok(Search::NotThere) => hidden = false,
                Ok(Search::Hidden) => hidden = true,
                Ok(Search::TooMuch(what)) => {
                    return Ok(Settled::Unclear(Reason::new("read-back-incomplete", what)));
                }
                // We may not read: nothing here will ever tell.
                Err(SendError::Refused(reason)) => return Ok(Settled::Unclear(reason)),
                Err(other) => return Err(other),
            }
        }
        let verdict = patience.absent(question);
        if hidden && verdict.is_ok() {
            let text = "a message to this number at that time is there, but 46elks does not show its words";
            return Ok(Settled::Unclear(Reason::new("read-back-hidden", text)));
        }
        verdict
    }

    fn hears(&self) -> bool {
        self.settings.whendelivered.is_some()
    }

    fn hear(&self, call: &Call<'_>) -> Result<Heard, Reason> {
        let refused = |text: &str| Reason::new("report-refused", text);
        if call.asks {
            return Err(refused("46elks asks nothing"));
        }
        let delivery: DeliveryId = Call::one(call.query, "delivery")
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| refused("it names no delivery"))?;
        let token = Call::one(call.query, "token").and_then(|token| hex::decode(token).ok());
        let proof = self.proof_of(&delivery)?;
        if token.is_none_or(|token| proof.verify_slice(&token).is_err()) {
            return Err(refused("its token is not that of the delivery"));
        }
        // Words that 46elks may add later say nothing to us.
        let arrived = Call::one(call.form, "status").and_then(|status| status.parse().ok());
        let arrived = arrived.ok_or_else(|| refused("its status is not sent, delivered or failed"))?;
        let id = Call::one(call.form, "id").filter(|id| history::is_id(id));
        Ok(Heard::Arrivals(vec![Arrival {
            delivery,
            arrived,
            remote_id: id.map(str::to_owned),
            reason: (arrived == Arrived::Failed).then(history::failed),
        }]))
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        let request = self.http.request(Method::GET, self.url(&["me"]));
        let answer = self.send(request, Effect::Reads).await?;
        if !answer.is_success() {
            return Err(verdict::of_read(&answer, &self.hidden(None)));
        }
        let me = answer.json().ok_or_else(|| no_sense("the answer is not JSON"))?;
        let text = |key: &str| {
            let value = me[key].as_str().filter(|value| !value.is_empty());
            value.map(|value| verdict::without(value, &self.hidden(None)))
        };
        let name = text("displayname")
            .or_else(|| text("name"))
            .or_else(|| text("email"));
        let currency = text("currency").unwrap_or_default();
        let mut facts = BTreeMap::from([("sender".to_owned(), self.settings.from.clone())]);
        let mut flaws = Vec::new();
        if let Some(balance) = me["balance"].as_i64() {
            let shown = money(balance, &currency);
            if balance < i64::from(self.settings.least_balance).saturating_mul(ONE) {
                let text = format!(
                    "{shown} is left on the 46elks account, less than least_balance ({}); fill it up",
                    self.settings.least_balance
                );
                return Err(SendError::Credential(Reason::new("no-credit", text)));
            }
            // What the owner wants to be told of by 46elks itself, or ten times what is too little.
            let alert = me["creditalert"].as_i64().unwrap_or(0);
            let low = alert.max(i64::from(self.settings.least_balance).saturating_mul(10 * ONE));
            if balance < low {
                flaws.push(flaw(
                    "low-balance",
                    format!("only {shown} is left on the 46elks account; fill it up"),
                ));
            }
            facts.insert("balance".to_owned(), shown);
        }
        if self.settings.dryrun {
            facts.insert("dryrun".to_owned(), "yes: nothing is sent to anybody".to_owned());
            let text = "dryrun = true in config.toml: nothing is sent to anybody";
            flaws.push(flaw("dryrun", text));
        }
        Ok(Identity {
            name: name.unwrap_or_else(|| "46elks".to_owned()),
            id: me["id"].as_str().map(fingerprint),
            flaws,
            facts,
            ..Identity::default()
        })
    }

    /// 46elks looks at the message, counts its parts and says what it would cost, and sends and keeps nothing.
    async fn backstage(&self, post: &Post) -> Result<Backstage, SendError> {
        let text = post.rendering.text.as_str();
        let form = [
            ("from", self.settings.from.as_str()),
            ("to", NOBODY),
            ("message", text),
            ("dryrun", "yes"),
        ];
        let request = self.http.request(Method::POST, self.url(&["sms"])).form(&form);
        let answer = self.send(request, Effect::Writes).await.map_err(harmless)?;
        if !answer.is_success() {
            return Err(harmless(verdict::of_write(&answer, &self.hidden(None))));
        }
        let body = answer.json().unwrap_or(Value::Null);
        if history::id(&body).is_some() {
            let text = "46elks sent a message that was to be a dry run, to a number that nobody has";
            return Err(SendError::Refused(Reason::new("backstage-sent", text)));
        }
        Ok(Backstage {
            place: "as a dry run".to_owned(),
            read_back: body["message"] == text && body["parts"].as_u64().is_some(),
            removed: true,
        })
    }
}

impl Account {
    fn url(&self, segments: &[&str]) -> Url {
        below(&self.settings.base_url, segments.iter().copied())
    }

    async fn send(&self, request: reqwest::RequestBuilder, effect: Effect) -> Result<Answer, SendError> {
        let secret = |name| self.secrets.require(name).map_err(SendError::Credential);
        let (username, password) = (secret("username")?, secret("password")?);
        let request = request.basic_auth(username.expose_secret(), Some(password.expose_secret()));
        self.http.send(request, effect).await
    }

    /// What must not show in what the service says: it may repeat the log-in, or whom the message was for.
    fn hidden(&self, to: Option<&Recipient>) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = ["username", "password"]
            .iter()
            .filter_map(|name| self.secrets.get(name))
            .map(|secret| (secret.expose_secret().to_owned(), "[redacted]".to_owned()))
            .collect();
        if let Some(to) = to {
            let number = to.address();
            // Without its plus sign as well.
            all.extend([
                (number.to_owned(), to.masked()),
                (number.trim_start_matches('+').to_owned(), to.masked()),
            ]);
        }
        all
    }

    /// Where 46elks tells how the delivery went. Reports are not signed there; the token, which nobody else can make,
    /// is good for this one delivery only.
    fn report_address(&self, url: &Url, post: &Post) -> Result<String, SendError> {
        let proof = self.proof_of(&post.key).map_err(SendError::Credential)?;
        let mut url = url.clone();
        url.query_pairs_mut()
            .append_pair("delivery", post.key.as_str())
            .append_pair("token", &hex::encode(proof.finalize().into_bytes()));
        Ok(url.into())
    }

    /// What only we can say of a delivery.
    fn proof_of(&self, delivery: &DeliveryId) -> Result<Hmac<Sha256>, Reason> {
        let password = self.secrets.require("password")?;
        let mut mac = Hmac::<Sha256>::new_from_slice(password.expose_secret().as_bytes())
            .map_err(|_| Reason::new("bad-credential", "password cannot be used as a key"))?;
        mac.update(format!("whendelivered {delivery}").as_bytes());
        Ok(mac)
    }

    /// Parts and cost as 46elks counted them.
    fn note(&self, body: &Value, counted: usize) -> Option<String> {
        let mut said = Vec::new();
        if let Some(parts) = body["parts"].as_u64() {
            said.push(match parts {
                1 => "1 part".to_owned(),
                parts => format!("{parts} parts"),
            });
            if usize::try_from(parts).ok() != Some(counted) {
                said.push(format!("we had counted {counted}"));
            }
        }
        let cost = body["cost"].as_i64().or_else(|| body["estimated_cost"].as_i64());
        if let Some(cost) = cost {
            let currency = self.settings.price.as_ref().map(Price::currency);
            said.push(money(cost, currency.unwrap_or("in the account's currency")));
        }
        (!said.is_empty()).then(|| said.join(", "))
    }

    /// Looks for the message in the account's history, newest first, among those to its number in the time in which it
    /// can have been taken in.
    async fn search(&self, wanted: &Wanted<'_>) -> Result<Search, SendError> {
        let mut walk = history::Walk::of(wanted);
        loop {
            let mut url = self.url(&["sms"]);
            url.query_pairs_mut().extend_pairs(walk.query(wanted));
            let answer = self
                .send(self.http.request(Method::GET, url), Effect::Reads)
                .await?;
            if !answer.is_success() {
                return Err(verdict::of_read(&answer, &self.hidden(None)));
            }
            let page = answer.json().ok_or_else(|| no_sense("the answer is not JSON"))?;
            if let Some(end) = walk.read(&page, wanted).map_err(no_sense)? {
                return Ok(end);
            }
        }
    }
}

/// What a dry run came to. Nothing was sent, so it is never called published.
fn dry_run(body: &Value, note: Option<&str>) -> SendError {
    if !body.is_object() {
        return SendError::NotSent(Reason::new(
            "unreadable",
            "46elks answered the dry run without JSON",
        ));
    }
    let text = format!(
        "46elks would take the message ({}), but nothing was sent: dryrun = true in config.toml",
        note.unwrap_or("no cost given")
    );
    SendError::Refused(Reason::new(DRY_RUN, text))
}

/// An account by what its id is hashed to: it is also the name that it logs in with, which is kept in the vault.
fn fingerprint(id: &str) -> String {
    let digest = hex::encode(Sha256::digest(id.as_bytes()));
    digest.chars().take(16).collect()
}

fn money(ten_thousandths: i64, currency: &str) -> String {
    match u64::try_from(ten_thousandths) {
        Ok(amount) => Price::of(amount, currency).to_string(),
        Err(_) => format!("-{}", Price::of(ten_thousandths.unsigned_abs(), currency)),
    }
    .trim_end()
    .to_owned()
}

fn no_sense(what: &str) -> SendError {
    SendError::NotSent(Reason::new(
        "unreadable",
        format!("the answer of 46elks makes no sense: {what}"),
    ))
}

#[cfg(test)]
mod tests;
