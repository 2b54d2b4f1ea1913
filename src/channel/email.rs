//! A mailing list, each recipient a message of its own: one envelope per recipient, so that one bad address never stops
//! the others, and nobody sees the others' addresses.
//!
//! SMTP cannot be asked what became of a message: between the final dot and its reply the outcome is unknown, and nothing
//! settles it. A repeat bears the same Message-ID, which most receivers collapse.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::backstage::{nowhere, sent};
use super::portrait::flaw;
use super::{
    Backstage, Capabilities, Channel, Identity, Kind, Pace, Parts, SecretName, Settings, Shown, WallSite,
};
use crate::compose::TextRule;
use crate::model::{
    AccountId, Kind as Does, ListId, Post, Proof, Question, Reason, Receipt, Recipient, Rendering, SendError,
    Settled, Unit,
};

mod message;
mod relay;
mod reply;
mod wire;

use message::{Leave, Letterhead};
use relay::Relay;
use reply::Trouble;

/// Where practice sends what only we are to see.
pub(crate) const PRACTICE_BACKSTAGE: &str = "backstage@ovningsvagg.invalid";
/// What proves that a link for leaving the list was made here; needed where the list has `unsubscribe`.
const UNSUBSCRIBE_KEY: &str = "unsubscribe_key";

/// A mailing list, each recipient a message of its own.
pub static KIND: Kind = Kind {
    id: "email",
    about: "A mailing list, each recipient a message of its own",
    can: Capabilities {
        proof: Proof::Unproven,
        thread: true,
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
    // The relays have log-ins, the account has none.
    secrets: {
        const SECRETS: &[SecretName] = &[SecretName {
            name: UNSUBSCRIBE_KEY,
            required: false,
            internal: false,
        }];
        SECRETS
    },
    // What a municipal relay takes from one client without complaint; large providers take less: set `rate`.
    pace: Pace {
        attempts: 3000,
        per: Duration::from_mins(1),
        burst: 50,
        parallel: 8,
    },
    verify_every: Duration::ZERO,
    read: |section| {
        let relay: Option<AccountId> = section.optional("relay", "the id of a [[relay]]");
        let from: Option<String> = section.required("from", "a mail address such as \"kris@nassjo.se\"");
        let backstage_to: Option<String> = section.optional("backstage_to", "a mail address of our own");
        let list: Option<ListId> = section.required("list", "the id of a [list.<id>]");
        let from = from?;
        if let Err(reason) = message::address(&from) {
            section.problem("from", reason.text);
            return None;
        }
        if let Some(Err(reason)) = backstage_to.as_deref().map(message::address) {
            section.problem("backstage_to", reason.text);
            return None;
        }
        Some(Box::new(MailingList {
            relay,
            from,
            list: list?,
            backstage_to,
            unsubscribe: None,
        }))
    },
};

#[derive(Debug, Clone)]
struct MailingList {
    /// The relay of first choice; the others follow in their order.
    relay: Option<AccountId>,
    from: String,
    list: ListId,
    /// Where a message goes that only we are to see.
    backstage_to: Option<String>,
    /// The address for leaving the list, with `{token}` in it.
    unsubscribe: Option<String>,
}

impl Settings for MailingList {
    fn text_rule(&self) -> TextRule {
        TextRule {
            limit: None,
            unit: Unit::Characters,
            also: None,
        }
    }

    /// The wall's sink comes with the relays of [`Parts`]; what is left to do is to name no other.
    fn at_wall(&self, _site: &WallSite) -> Box<dyn Settings> {
        Box::new(Self {
            relay: None,
            // Practice has no key of its own, and nobody leaves a list by it.
            unsubscribe: None,
            backstage_to: self.backstage_to.as_ref().map(|_| PRACTICE_BACKSTAGE.to_owned()),
            ..self.clone()
        })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn as_shown(&self, rendering: &Rendering, _kind: Does) -> Vec<Shown> {
        vec![
            Shown::new("subject", &rendering.headline),
            Shown::new("body", &rendering.text),
        ]
    }

    fn list(&self) -> Option<&ListId> {
        Some(&self.list)
    }

    fn backstage(&self) -> Option<bool> {
        Some(self.backstage_to.is_some())
    }

    fn with_list(&self, list: &crate::config::List) -> Option<Box<dyn Settings>> {
        let unsubscribe = list.unsubscribe.clone();
        unsubscribe.is_some().then(|| {
            Box::new(Self {
                unsubscribe,
                ..self.clone()
            }) as Box<dyn Settings>
        })
    }

    fn open(&self, parts: Parts) -> Result<Arc<dyn Channel>, Reason> {
        let mut mail = Mail::new(&parts, &self.from, Some(&self.list));
        mail.backstage_to.clone_from(&self.backstage_to);
        if let Some(address) = &self.unsubscribe {
            mail.letterhead.leave = Some(Leave {
                address: address.clone(),
                key: parts.secrets.require(UNSUBSCRIBE_KEY)?,
            });
        }
        if let Some(first) = &self.relay {
            let Some(at) = mail.relays.iter().position(|r| r.id() == first) else {
                return Err(Reason::new(
                    "no-relay",
                    format!("there is no [[relay]] with the id {first}"),
                ));
            };
            if let Some(chosen) = mail.relays.get_mut(..=at) {
                chosen.rotate_right(1);
            }
        }
        if mail.relays.is_empty() {
            return Err(Reason::new(
                "no-relay",
                "config.toml has no [[relay]] to send mail through",
            ));
        }
        Ok(Arc::new(mail))
    }
}

/// Sends the confirmations to the crisis organisation, through all relays in order.
pub fn confirmation(parts: &Parts, from: &str) -> Arc<dyn Channel> {
    Arc::new(Mail::new(parts, from, None))
}

/// The adapter. Keeps idle connections to its relays, nothing else.
#[derive(Debug)]
struct Mail {
    letterhead: Letterhead,
    relays: Vec<Relay>,
    backstage_to: Option<String>,
    http: super::Transport,
}

impl Mail {
    fn new(parts: &Parts, from: &str, list: Option<&ListId>) -> Self {
        let hello = parts.domain.clone();
        Self {
            letterhead: Letterhead {
                account: parts.account.clone(),
                from: from.to_owned(),
                sender: parts.sender.clone(),
                domain: parts.domain.clone(),
                list: list.cloned(),
                leave: None,
            },
            relays: parts
                .relays
                .iter()
                .enumerate()
                .map(|(at, config)| {
                    let is_last = at + 1 == parts.relays.len();
                    let secrets = Arc::clone(&parts.relay_secrets);
                    Relay::new(config.clone(), hello.clone(), secrets, is_last)
                })
                .collect(),
            backstage_to: None,
            http: parts.http.clone(),
        }
    }
}

#[async_trait]
impl Channel for Mail {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let letter = self.letterhead.write(post).map_err(SendError::Refused)?;
        let mut troubles = Vec::new();
        for relay in &self.relays {
            match relay.send(&letter).await {
                Ok(queued) => {
                    let mut note = vec![format!("{queued} via {}", relay.id())];
                    note.extend(
                        troubles
                            .iter()
                            .map(|trouble: &Trouble| trouble.reason().to_string()),
                    );
                    return Ok(Receipt {
                        remote_id: letter.message_id,
                        url: None,
                        version: None,
                        note: Some(Reason::new("", note.join("; ")).text),
                    });
                }
                Err(trouble) if trouble.is_the_relays() => troubles.push(trouble),
                Err(trouble) => return Err(trouble.outcome(self.http.now())),
            }
        }
        Err(reply::of_all(troubles, self.http.now()))
    }

    async fn settle(&self, question: &Question) -> Result<Settled, SendError> {
        let id = self.letterhead.message_id(&question.post);
        Ok(Settled::Unclear(Reason::new(
            "smtp",
            format!("SMTP cannot tell; look for {id} in the relay's log"),
        )))
    }

    fn leaver(&self, token: &str) -> Result<Recipient, Reason> {
        let list = self.letterhead.list.as_ref();
        let (Some(list), Some(leave)) = (list, &self.letterhead.leave) else {
            return Err(Reason::new(
                "no-list",
                "nobody leaves a list of this account by a link",
            ));
        };
        leave.leaver(list, token).map(Recipient::new)
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        let (mut facts, mut flaws) = (BTreeMap::new(), Vec::new());
        let mut troubles = Vec::new();
        for relay in &self.relays {
            match relay.verify().await {
                Ok(greeted) => {
                    facts.insert(relay.id().to_string(), greeted);
                }
                Err(trouble) => {
                    facts.insert(relay.id().to_string(), trouble.reason().to_string());
                    flaws.push(flaw(
                        "relay-dead",
                        format!("relay {}: {}", relay.id(), trouble.reason()),
                    ));
                    troubles.push(trouble);
                }
            }
        }
        // One relay that works is enough to send; the facts show the others.
        if troubles.len() == self.relays.len() {
            return Err(reply::of_all(troubles, self.http.now()));
        }
        Ok(Identity {
            name: self.letterhead.from.clone(),
            flaws,
            facts,
            ..Identity::default()
        })
    }

    /// A mail to ourselves through the first relay that takes it. Nothing tells whether it arrived: the relay has it.
    async fn backstage(&self, post: &Post) -> Result<Backstage, SendError> {
        let Some(to) = &self.backstage_to else {
            return Err(nowhere("set `backstage_to` to a mail address of our own"));
        };
        let post = Post {
            recipient: Some(crate::model::Recipient::new(to)),
            ..post.clone()
        };
        sent("in a mail to ourselves", self.publish(&post).await)
    }
}

#[cfg(test)]
mod tests;
