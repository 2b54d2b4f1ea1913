//! What the account is: whose it is and what our token may, how readers find it, and what it can where they do not look.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Account, ME, brief, created, html, no_sense, receipt, verdict};
use crate::channel::backstage::{calling_nobody, ended, shown};
use crate::channel::portrait::{self, flaw};
use crate::channel::transport::Effect;
use crate::channel::{Backstage, Identity, Profile, Rights};
use crate::model::{Post, Reason, Receipt, SendError};

/// What our work needs of a token (reference page §1), each with the wider scope that holds it. The first is posting.
const NEEDS: &[&[&str]] = &[
    &["write:statuses", "write"],
    &["write:media", "write"],
    &["write:accounts", "write"],
    &["read:accounts", "profile", "read"],
    &["read:statuses", "read"],
];
/// What may stand beside it: answers of residents are read with it.
const BESIDE: &[&str] = &["read", "profile", "read:notifications"];
const LOST: &[(&str, &str)] = &[
    ("write:media", "posts go out without their pictures"),
    ("write:accounts", "posts cannot be pinned"),
    ("read:accounts", "the account cannot be verified"),
    ("read:statuses", "a post of unknown outcome cannot be looked for"),
];
const PLACE: &str = "as a direct message to nobody";

impl Account {
    pub(super) async fn identify(&self) -> Result<Identity, SendError> {
        let me = self.get_json(self.url(ME)).await?;
        let acct = me["acct"].as_str().filter(|acct| !acct.is_empty());
        let acct = acct.ok_or_else(|| no_sense("the account has no name"))?;
        let mut flaws = Vec::new();
        for (mark, text) in [
            (
                "suspended",
                "the server has suspended the account: nobody sees its posts; write to the server's moderators",
            ),
            (
                "limited",
                "the server has limited the account: only followers see its posts; write to the server's moderators",
            ),
            (
                "locked",
                "followers have to be let in one by one; switch that off in the account's settings",
            ),
        ] {
            if me[mark] == true {
                flaws.push(flaw(mark, text));
            }
        }
        if me["moved"].is_object() {
            flaws.push(flaw(
                "moved",
                "the account says that it has moved to another one; readers are led away",
            ));
        }
        let instance = self.instance().await?.unwrap_or_default();
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let scopes = self.scopes().await?;
        let mut facts = portrait::facts([
            ("version", text(&instance["version"])),
            (
                "max_characters",
                text(&instance["configuration"]["statuses"]["max_characters"]),
            ),
            ("scopes", scopes.as_ref().map(|scopes| scopes.join(" "))),
        ]);
        for mark in ["suspended", "limited"] {
            if me[mark] == true {
                facts.insert(
                    mark.to_owned(),
                    "yes: the public may not see the posts".to_owned(),
                );
            }
        }
        let rights = scopes.map(|scopes| Rights::compare(scopes, NEEDS, BESIDE));
        if let Some(rights) = &rights {
            if rights.missing.contains("write:statuses") {
                let held: Vec<&str> = rights.held.iter().map(String::as_str).collect();
                let text = format!(
                    "the token may not post, only {}; make one with write:statuses",
                    held.join(" ")
                );
                return Err(SendError::Refused(Reason::new("scope", text)));
            }
            for (scope, fact) in [("write:media", "pictures"), ("write:accounts", "pins")] {
                if rights.missing.contains(scope) {
                    facts.insert(fact.to_owned(), format!("no: the token lacks {scope}"));
                }
            }
            flaws.extend(portrait::missing(rights, LOST));
        }
        Ok(Identity {
            name: brief(acct),
            id: me["id"].as_str().map(brief),
            rights,
            flaws,
            facts,
            ..Identity::default()
        })
    }

    pub(super) async fn portray(&self) -> Result<Profile, SendError> {
        let me = self.get_json(self.url(ME)).await?;
        let id = me["id"].as_str().filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| no_sense("the account has no id"))?;
        let mut url = self.url(&["api", "v1", "accounts", id, "statuses"]);
        url.query_pairs_mut()
            .append_pair("limit", &portrait::LATEST.to_string())
            .append_pair("exclude_replies", "true")
            .append_pair("exclude_reblogs", "true");
        let statuses = self.get_json(url).await?;
        let statuses = statuses.as_array().ok_or_else(|| no_sense("no list of posts"))?;
        // The account itself is also shown what only some may read.
        let latest = statuses.iter().filter(|status| status["visibility"] != "direct");
        let latest = latest.filter_map(|status| {
            let by = status["application"]["name"].as_str();
            portrait::latest(status["id"].as_str(), created(status), by)
        });
        let fields = me["fields"].as_array().into_iter().flatten();
        let fields: Vec<String> = fields
            .map(|field| {
                let value = html::text(field["value"].as_str().unwrap_or_default());
                format!("{}: {value}", field["name"].as_str().unwrap_or_default())
            })
            .collect();
        let note = html::text(me["note"].as_str().unwrap_or_default());
        let said = || std::iter::once(note.as_str()).chain(fields.iter().map(String::as_str));
        let name = me["display_name"].as_str().filter(|name| !name.is_empty());
        let avatar = me["avatar_static"].as_str().or(me["avatar"].as_str());
        Ok(Profile {
            name: brief(name.or(me["acct"].as_str()).unwrap_or_default()),
            texts: portrait::texts(said()),
            links: portrait::links(
                me["url"]
                    .as_str()
                    .into_iter()
                    .chain(said().flat_map(portrait::links_in)),
            ),
            picture: portrait::picture(&self.http, &self.settings.server, avatar).await,
            followers: me["followers_count"].as_u64(),
            posts: me["statuses_count"].as_u64(),
            latest: portrait::newest(latest),
            admins: Vec::new(),
        })
    }

    /// A direct message without a name in it reaches nobody (reference page §3). A server that shows it to more than the
    /// account itself is not believed again.
    pub(super) async fn rehearse(&self, post: &Post) -> Result<Backstage, SendError> {
        let text = calling_nobody(post);
        let request = self
            .http
            .request(Method::POST, self.url(&["api", "v1", "statuses"]))
            .header("Idempotency-Key", format!("backstage-{}", post.key))
            .json(&json!({"status": text, "visibility": "direct"}));
        let answer = self.send_request(request, Effect::Writes).await?;
        if !answer.is_success() {
            return Err(verdict::of_write(&answer));
        }
        let made = answer.json().unwrap_or(Value::Null);
        let made_as = receipt(&made).ok_or_else(|| verdict::unreadable(&answer))?;
        let id = made_as.remote_id.clone();
        if made["visibility"] != "direct" {
            return Err(shown(PLACE, &id, self.take_away(&Receipt::of(&*id)).await));
        }
        let read = self.get_json(self.url(&["api", "v1", "statuses", &id])).await;
        let read = read.map(|status| {
            let content = html::text(status["content"].as_str().unwrap_or_default());
            status["visibility"] == "direct" && html::normal(&content) == html::normal(&text)
        });
        let gone = self.take_away(&made_as).await;
        ended(PLACE, &id, read, gone)
    }
}
