//! A Threads profile.
//!
//! A post is made of a container that nobody sees until it is published; the container's id is on disk before that, and
//! whether it was published is what the service says of it. A text that is longer than a post may go out as a thread, each
//! part under the one before.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use url::Url;

use super::graph::client::{Graph, brief, no_sense};
use super::graph::container::{Draft, Exchange, Form, Out, Pauses, Picture, is_nameless};
use super::graph::readback::{self, Look};
use super::graph::renewal;
use super::graph::sign_in::{ByItself, Own};
use super::patience::{Patience, Search};
use super::public_folder::PublicFolder;
use super::{
    Backstage, Capabilities, Channel, Identity, Kind, Pace, Parts, Profile, SecretName, Settings, WallSite,
};
use crate::compose::count::weighted::links;
use crate::compose::{TextRule, parts};
use crate::config::section::Section;
use crate::model::{
    AccountId, PictureRule, Post, Proof, Question, Reason, Receipt, Rendering, SendError, Settled, Unit,
};

mod face;

/// A Threads profile.
pub static KIND: Kind = Kind {
    id: "threads",
    about: "A Threads profile",
    can: Capabilities {
        proof: Proof::ReadBack,
        thread: true,
        edit: false,
        retract: true,
        pin: false,
        picture: true,
        link_card: true,
        recipients: false,
        by_hand: false,
        profile: true,
        backstage: true,
    },
    secrets: {
        const SECRETS: &[SecretName] = &[
            SecretName {
                name: "access_token",
                required: true,
                internal: false,
            },
            SecretName {
                name: renewal::STATE,
                required: false,
                internal: true,
            },
            // Of the app by which a person signs the profile in.
            SecretName {
                name: "client_id",
                required: false,
                internal: false,
            },
            SecretName {
                name: "client_secret",
                required: false,
                internal: false,
            },
        ];
        SECRETS
    },
    // 250 posts a day and profile (overview page of the Threads API, read 2026-08), with headroom.
    pace: Pace {
        attempts: 200,
        per: Duration::from_hours(24),
        burst: 30,
        parallel: 1,
    },
    verify_every: Duration::ZERO,
    read,
};

/// The number of every simulated profile: the adapter of a drill does not even know that of the real one.
pub(crate) const PRACTICE_USER: &str = "1780";

/// Longest post (reference page §3).
pub(crate) const MAX_TEXT: usize = 500;
/// Most different links of a post (reference page §3).
const MAX_LINKS: usize = 5;
/// What the service takes as a picture (reference page §4).
const PICTURE: PictureRule = PictureRule {
    media_types: &["image/jpeg", "image/png"],
    max_bytes: 8_000_000,
    max_edge: 1440,
    max_alt: 1000,
    required: false,
};
/// The only version there is.
const DEFAULT_VERSION: &str = "v1.0";
/// How long after an attempt its post may take to show among the profile's.
const DEFAULT_SETTLE_WAIT: Duration = Duration::from_secs(30);
/// The same on the practice wall, where a post shows at once.
const WALL_SETTLE_WAIT: Duration = Duration::from_secs(2);
/// How long the address of a published post is waited for. It is only for show.
const COURTESY: Duration = Duration::from_secs(3);
/// Stands between the ids of a thread's parts.
const BETWEEN: char = ' ';

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    let user_id =
        section.required::<String>("user_id", "the profile's number, such as \"17841400000000001\"");
    let is_number = |id: &str| !id.is_empty() && id.len() <= 30 && id.bytes().all(|b| b.is_ascii_digit());
    if user_id.as_ref().is_some_and(|id| !is_number(id)) {
        section.problem(
            "user_id",
            "must be the profile's number: digits only, in quotation marks",
        );
    }
    let base_url = section.address("base_url", false);
    let login_url = section.address("login_url", false);
    let long = section.one_of("long", &["fit", "thread"]) == Some("thread");
    let public = PublicFolder::read(section, false);
    let settle_wait = section.duration("settle_wait").unwrap_or(DEFAULT_SETTLE_WAIT);
    if section.is_broken() {
        return None;
    }
    Some(Box::new(Threads {
        user_id: user_id?,
        base_url: match base_url {
            Some(url) => url,
            None => Url::parse("https://graph.threads.net").ok()?,
        },
        login_url: match login_url {
            Some(url) => url,
            None => Url::parse("https://www.threads.net").ok()?,
        },
        long,
        public,
        settle_wait,
        pauses: Pauses::REAL,
    }))
}

/// The channel's own keys.
#[derive(Debug, Clone)]
struct Threads {
    user_id: String,
    base_url: Url,
    /// Where a person signs the profile in.
    login_url: Url,
    /// Whether a text may be longer than a post.
    long: bool,
    /// Where pictures are put for the service to fetch.
    public: Option<PublicFolder>,
    settle_wait: Duration,
    pauses: Pauses,
}

/// What one post takes.
const POST_RULE: TextRule = TextRule {
    limit: Some(MAX_TEXT),
    unit: Unit::ThreadsCharacters,
    also: None,
};

impl Settings for Threads {
    fn text_rule(&self) -> TextRule {
        POST_RULE
    }

    fn parts(&self) -> usize {
        if self.long { parts::MOST } else { 1 }
    }

    fn at_wall(&self, site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            user_id: PRACTICE_USER.to_owned(),
            base_url: site.base.clone(),
            login_url: site.base.clone(),
            public: self.public.as_ref().map(|_| PublicFolder::at_wall(site)),
            settle_wait: self.settle_wait.min(WALL_SETTLE_WAIT),
            pauses: Pauses::WALL,
            ..self.clone()
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![
            ("base_url", self.base_url.to_string()),
            ("login_url", self.login_url.to_string()),
            ("user_id", self.user_id.clone()),
        ];
        all.extend(self.public.iter().flat_map(PublicFolder::addresses));
        all
    }

    fn refuses(&self, rendering: &Rendering) -> Option<String> {
        let text = &rendering.text;
        let mut all: Vec<&str> = links(text)
            .into_iter()
            .filter_map(|link| text.get(link))
            .collect();
        all.sort_unstable();
        all.dedup();
        (all.len() > MAX_LINKS).then(|| {
            format!(
                "Threads tar högst {MAX_LINKS} länkar och texten har {}. Ta bort några.",
                all.len()
            )
        })
    }

    fn picture_rule(&self) -> Option<PictureRule> {
        self.public.as_ref().map(|_| PICTURE)
    }

    fn sign_in(&self, parts: &Parts) -> Option<Box<dyn super::SignIn>> {
        const OWN: Own = Own {
            service: "Threads",
            scopes: &[
                "threads_basic",
                "threads_content_publish",
                "threads_manage_replies",
                "threads_read_replies",
                "threads_delete",
            ],
            needed: "threads_content_publish",
            grant: "th_exchange_token",
            number: "id",
            tells: true,
        };
        let at = [&self.login_url, &self.base_url, &self.base_url];
        Some(Box::new(ByItself::new(
            OWN,
            at,
            DEFAULT_VERSION,
            &self.user_id,
            parts,
        )))
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        parts.secrets.require("access_token")?;
        Ok(Arc::new(Account {
            graph: Graph::new(self.base_url.clone(), DEFAULT_VERSION.to_owned(), &parts),
            form: Form {
                // The API's own advice: writing to the number fails where writing to "me" does not (reference page §1).
                make: ["me".to_owned(), "threads".to_owned()],
                publish: ["me".to_owned(), "threads_publish".to_owned()],
                status: "status",
                wrong: "error_message",
                pauses: self.pauses,
            },
            id: parts.account,
            sender: parts.sender,
            settings: self.clone(),
        }))
    }
}

/// The adapter of one account.
#[derive(Debug)]
struct Account {
    id: AccountId,
    sender: String,
    settings: Threads,
    graph: Graph,
    form: Form,
}

#[async_trait]
impl Channel for Account {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let texts = self.texts(post).map_err(SendError::Refused)?;
        let exchange = self.exchange(post);
        let mut published: Vec<String> = Vec::new();
        for (part, text) in (1..).zip(&texts) {
            let draft = self.draft(post, part, text, &published).await;
            let taken = others(post, &published);
            let look = Self::look(
                post,
                text,
                self.graph.earliest(post.accepted_at),
                &published,
                &taken,
            );
            let out = exchange.bring_out(part, &draft, look).await;
            let out = out.map_err(|error| in_the_middle(error, part, texts.len()))?;
            let id = match out {
                Out::Published(id) => id,
                Out::Somewhere => self.find(&exchange, part, look).await?,
            };
            published.push(id);
        }
        let mut receipt = receipt(&published).ok_or_else(|| no_sense("a post without parts"))?;
        receipt.note = exchange.notes(texts.len(), None);
        receipt.url = self.address(&receipt.remote_id).await;
        Ok(receipt)
    }

    async fn settle(&self, question: &Question) -> Result<Settled, SendError> {
        let post = &question.post;
        // What cannot be split was never begun.
        let Ok(texts) = self.texts(post) else {
            return Ok(Settled::Absent);
        };
        let exchange = self.exchange(post);
        let known: Vec<String> = (1..=texts.len()).map_while(|part| exchange.id(part)).collect();
        let part = known.len() + 1;
        let Some(text) = texts.get(known.len()) else {
            let mut receipt = receipt(&known).ok_or_else(|| no_sense("a post without parts"))?;
            receipt.note = exchange.notes(texts.len(), None);
            receipt.url = self.address(&receipt.remote_id).await;
            return Ok(Settled::Found(receipt));
        };
        let taken: Vec<String> = question.taken.iter().chain(&known).cloned().collect();
        let look = Self::look(post, text, question.earliest(), &known, &taken);
        let patience = Patience::of(self.settings.settle_wait);
        match exchange.settle(part, look, question, patience).await? {
            Settled::Found(found) if part == texts.len() => {
                let mut all = known;
                all.push(found.remote_id.clone());
                let mut receipt = receipt(&all).ok_or_else(|| no_sense("a post without parts"))?;
                receipt.note = exchange.notes(texts.len(), found.note);
                receipt.url = if part == 1 {
                    found.url
                } else {
                    self.address(&receipt.remote_id).await
                };
                Ok(Settled::Found(receipt))
            }
            // There are more parts to come: the next attempt finds this one again and goes on behind it.
            Settled::Found(_) | Settled::Absent => Ok(Settled::Absent),
            other @ (Settled::Refused(_) | Settled::Unclear(_)) => Ok(other),
        }
    }

    async fn retract(&self, receipt: &Receipt) -> Result<(), SendError> {
        let rest = receipt.version.as_deref().unwrap_or_default().split(BETWEEN);
        let ids = std::iter::once(receipt.remote_id.as_str()).chain(rest);
        let mut nameless = None;
        for id in ids.filter(|id| !id.is_empty()) {
            if is_nameless(id) {
                nameless = Some(id);
                continue;
            }
            self.graph.delete(id).await?;
        }
        match nameless {
            None => Ok(()),
            Some(id) => Err(SendError::Refused(Reason::new(
                "nameless",
                format!("the service never told the post's id ({id}); take it away in the app"),
            ))),
        }
    }

    fn quota(&self) -> Option<crate::model::Quota> {
        self.graph.quota()
    }

    async fn renew(&self, now: crate::clock::Timestamp) -> Result<super::Renewal, SendError> {
        renewal::look(&self.graph, "refresh_access_token", "th_refresh_token", now).await
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        self.identify().await
    }

    async fn profile(&self) -> Result<Option<Profile>, SendError> {
        self.portray().await.map(Some)
    }

    async fn backstage(&self, post: &Post) -> Result<Backstage, SendError> {
        self.rehearse(post).await
    }
}

impl Account {
    fn exchange<'a>(&'a self, post: &'a Post) -> Exchange<'a> {
        Exchange {
            graph: &self.graph,
            form: &self.form,
            steps: &post.steps,
        }
    }

    /// The text as posts.
    fn texts(&self, post: &Post) -> Result<Vec<String>, Reason> {
        let text = "the text cannot be split into posts: a word is too long, or there are too many parts";
        parts::of(post, &self.sender, &POST_RULE).ok_or_else(|| Reason::new("too-long", text))
    }

    /// What a part's container is made of.
    async fn draft(&self, post: &Post, part: usize, text: &str, before: &[String]) -> Draft {
        let as_text = vec![("media_type", "TEXT".to_owned())];
        // A card for the address, which costs no characters; only a post without a picture has one.
        let with_card = || {
            let card = ("link_attachment", post.rendering.link.to_string());
            as_text.iter().cloned().chain([card]).collect::<Vec<_>>()
        };
        let mut fields = vec![("text", text.to_owned())];
        let (mut picture, mut plain) = (None, None);
        if let (Some(shown), Some(public), 1) = (&post.picture, &self.settings.public, part) {
            match public.put(self.id.as_str(), shown).await {
                Ok(url) => {
                    let with = vec![
                        ("media_type", "IMAGE".to_owned()),
                        ("image_url", url.into()),
                        ("alt_text", shown.alt.clone()),
                    ];
                    picture = Some(Picture {
                        with,
                        without: Some(with_card()),
                    });
                }
                Err(reason) => plain = Some(format!("without its picture: {reason}")),
            }
        }
        if picture.is_none() {
            fields.extend(if part == 1 { with_card() } else { as_text.clone() });
        }
        Draft {
            fields,
            picture,
            plain,
            answer_to: answers_to(post, before).map(|id| ("reply_to_id", id.to_owned())),
        }
    }

    fn look<'a>(
        post: &Post,
        wanted: &'a str,
        since: crate::clock::Timestamp,
        before: &[String],
        taken: &'a [String],
    ) -> Look<'a> {
        // Answers are not among the profile's posts.
        Look {
            path: if answers_to(post, before).is_some() {
                &["me", "replies"]
            } else {
                &["me", "threads"]
            },
            words: "text",
            wanted,
            since,
            taken,
        }
    }

    /// The id of a part that an earlier attempt published.
    async fn find(&self, exchange: &Exchange<'_>, part: usize, look: Look<'_>) -> Result<String, SendError> {
        let id = match readback::search(&self.graph, look).await? {
            Search::Found(receipt) => receipt.remote_id,
            Search::NotThere | Search::TooMuch => {
                exchange
                    .nameless(part)
                    .ok_or_else(|| no_sense("a part without a container"))?
                    .remote_id
            }
        };
        exchange.note_id(part, &id).await.map_err(SendError::NotSent)?;
        Ok(id)
    }

    /// Where residents find a post. It is out: whatever goes wrong here is no failure.
    async fn address(&self, id: &str) -> Option<String> {
        if is_nameless(id) {
            return None;
        }
        let path = [id];
        let asked = self.graph.get(&path, &[("fields", "id,permalink")]);
        let answer = tokio::time::timeout(COURTESY, asked).await.ok()?.ok()?;
        readback::address(&answer)
    }
}

/// The post that a part stands under: the last one of the thread, or the alert's, if its own id is known.
fn answers_to<'a>(post: &'a Post, before: &'a [String]) -> Option<&'a str> {
    let parent = post.parent.as_ref().map(|receipt| receipt.remote_id.as_str());
    let parent = parent.filter(|id| !is_nameless(id) && !stands_alone(post));
    let own = before.iter().rev().map(String::as_str);
    own.filter(|id| !is_nameless(id)).chain(parent).next()
}

/// Whether the first part goes out without the post that it answers to.
fn stands_alone(post: &Post) -> bool {
    post.steps.get("part-1-alone").is_some()
}

/// Ids that are known not to be those of a part that is looked for.
fn others(post: &Post, published: &[String]) -> Vec<String> {
    let before = post
        .root
        .iter()
        .chain(&post.parent)
        .map(|receipt| &receipt.remote_id);
    before.chain(published).cloned().collect()
}

/// One receipt for all parts: the first one's id, and the others' for taking the thread away.
fn receipt(ids: &[String]) -> Option<Receipt> {
    let (first, rest) = ids.split_first()?;
    Some(Receipt {
        version: (!rest.is_empty()).then(|| rest.join(&BETWEEN.to_string())),
        ..Receipt::of(first.as_str())
    })
}

/// Says how far a thread came that a refusal ended: what is out stays out until a person decides.
fn in_the_middle(error: SendError, part: usize, total: usize) -> SendError {
    match &error {
        SendError::Refused(reason) if part > 1 => {
            let text = format!(
                "part {part} of {total}; those before it are published: {}",
                reason.text
            );
            SendError::Refused(Reason::new(reason.code.clone(), text))
        }
        SendError::NotSent(_)
        | SendError::Busy { .. }
        | SendError::Credential(_)
        | SendError::Refused(_)
        | SendError::Unknown(_) => error,
    }
}

#[cfg(test)]
mod tests;
