//! What the account is, and how readers find it. A Bluesky account has no place that the public cannot see.

use reqwest::Method;
use serde_json::Value;

use super::fault::Fault;
use super::{Bluesky, PROFILE, session, unreadable};
use crate::channel::portrait::{self, flaw};
use crate::channel::transport::Effect;
use crate::channel::{Identity, Profile, Rights};
use crate::clock::Timestamp;
use crate::model::{Reason, SendError};

/// What a session may, by what it was made with (reference page §1). The first is all that we need.
const SCOPES: &[&str] = &[
    "com.atproto.appPass",
    "com.atproto.appPassPrivileged",
    "com.atproto.access",
];

impl Bluesky {
    pub(super) async fn identify(&self) -> Result<Identity, SendError> {
        let (session, answer) = self
            .authorized(Effect::Reads, |session| {
                self.call(session, Method::GET, "com.atproto.server.getSession")
            })
            .await?;
        let answer = answer.map_err(|fault| fault.into_error(Effect::Reads))?;
        let body = answer
            .json()
            .ok_or_else(|| SendError::NotSent(unreadable(&answer)))?;
        session::check_active(&body)?;
        let text = |name| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let did = text("did").ok_or_else(|| SendError::NotSent(unreadable(&answer)))?;
        let scope = session.scope();
        let mut rights = scope.map(|scope| Rights::compare([scope], &[SCOPES], &[]));
        let mut flaws = Vec::new();
        if let Some(rights) = &mut rights {
            rights.surplus = rights
                .held
                .iter()
                .filter(|held| *held != SCOPES[0])
                .cloned()
                .collect();
            if rights.held.contains("com.atproto.access") {
                let text = "the session was made with the account's own password, which may do everything; make an app \
                            password";
                flaws.push(flaw("main-password", text));
            }
        }
        let handle = text("handle").filter(|handle| handle != "handle.invalid");
        if handle.is_none() {
            let text =
                "the account's name does not lead to it (handle.invalid): look at the DNS record of the name";
            flaws.push(flaw("handle-invalid", text));
        }
        Ok(Identity {
            proves: crate::model::Proves::SignIn,
            name: handle.unwrap_or_else(|| did.clone()),
            id: Some(did.clone()),
            // The app password has no end; what it was exchanged for has, and each renewal moves it.
            expires_at: session.renewable_until(),
            rights,
            flaws,
            facts: portrait::facts([
                ("did", Some(did)),
                ("session until", session.expires().map(|until| until.to_string())),
                (
                    "requests left",
                    answer
                        .header("ratelimit-remaining")
                        .map(|left| left.chars().take(20).collect()),
                ),
            ]),
        })
    }

    /// One reading question with our own account's id in it; `Ok(None)` if the server knows nobody who answers it.
    async fn read(
        &self,
        nsid: &str,
        account: &str,
        more: &[(&str, &str)],
    ) -> Result<Option<Value>, SendError> {
        let (_, answer) = self
            .authorized(Effect::Reads, |session| {
                self.call(session, Method::GET, nsid)
                    .query(&[(account, session.did())])
                    .query(more)
            })
            .await?;
        match answer {
            Ok(answer) => {
                let body = answer
                    .json()
                    .ok_or_else(|| SendError::NotSent(unreadable(&answer)))?;
                Ok(Some(body))
            }
            Err(Fault::NotFound | Fault::Other(SendError::Refused(_))) => Ok(None),
            Err(fault) => Err(fault.into_error(Effect::Reads)),
        }
    }

    pub(super) async fn portray(&self) -> Result<Profile, SendError> {
        let limit = portrait::LATEST.to_string();
        let Some(seen) = self.read("app.bsky.actor.getProfile", "actor", &[]).await? else {
            // A server without a view of the network still has what the account itself wrote.
            return self.portray_by_records(&limit).await;
        };
        let feed = [("limit", limit.as_str()), ("filter", "posts_no_replies")];
        let feed = self.read("app.bsky.feed.getAuthorFeed", "actor", &feed).await?;
        let feed = feed.unwrap_or_default();
        let own = feed["feed"].as_array().into_iter().flatten();
        // What was only passed on from others has a reason.
        let own = own.filter(|item| item["reason"].is_null());
        let latest = own.filter_map(|item| {
            let at = item["post"]["record"]["createdAt"].as_str();
            portrait::latest(item["post"]["uri"].as_str(), at.and_then(moment), None)
        });
        let text = |field: &str| seen[field].as_str().unwrap_or_default();
        let address = format!("https://bsky.app/profile/{}", text("handle"));
        let description = text("description");
        let name = Some(text("displayName")).filter(|name| !name.is_empty());
        Ok(Profile {
            name: name.unwrap_or(text("handle")).chars().take(100).collect(),
            texts: portrait::texts([description, text("website")]),
            links: portrait::links(
                [address.as_str(), text("website")]
                    .into_iter()
                    .chain(portrait::links_in(description)),
            ),
            picture: portrait::picture(&self.http, &self.service, seen["avatar"].as_str()).await,
            followers: seen["followersCount"].as_u64(),
            posts: seen["postsCount"].as_u64(),
            latest: portrait::newest(latest),
            admins: Vec::new(),
        })
    }

    async fn portray_by_records(&self, limit: &str) -> Result<Profile, SendError> {
        let own = [("collection", PROFILE), ("rkey", "self")];
        let record = self.read("com.atproto.repo.getRecord", "repo", &own).await?;
        let record = record.unwrap_or_default();
        let posts = [("collection", super::POSTS), ("limit", limit)];
        let posts = self.read("com.atproto.repo.listRecords", "repo", &posts).await?;
        let Some(posts) = posts else {
            let text = "the server tells neither a view of the account nor its records";
            return Err(SendError::Refused(Reason::new("no-profile", text)));
        };
        let records = posts["records"].as_array().into_iter().flatten();
        let records = records.filter(|post| post["value"]["reply"].is_null());
        let latest = records.filter_map(|post| {
            let at = post["value"]["createdAt"].as_str();
            portrait::latest(post["uri"].as_str(), at.and_then(moment), None)
        });
        let description = record["value"]["description"].as_str().unwrap_or_default();
        let session = self.sessions.current().await?;
        let name = record["value"]["displayName"]
            .as_str()
            .filter(|name| !name.is_empty());
        Ok(Profile {
            name: name.unwrap_or(session.handle()).chars().take(100).collect(),
            texts: portrait::texts([description]),
            links: portrait::links(portrait::links_in(description)),
            latest: portrait::newest(latest),
            ..Profile::default()
        })
    }
}

fn moment(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}
