//! Publishing by container, as Threads and Instagram do: make it, wait until it is ready, publish it. Nobody sees a
//! container, so that making one may be repeated freely; publishing one may not, and the container itself is what tells
//! whether that has happened. Its id is on disk before it is published.
//!
//! Steps of part 1: `part-1-container` (the second and third are `…-container-2`, `…-container-3`), `part-1-sent` (the
//! number of the container that was about to be published), `part-1-id` (the post), `part-1-plain` and `part-1-alone` (why
//! it goes out without its picture, or without the post that it answers to).

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use super::Fault;
use super::client::{Graph, Trouble, id, trouble};
use super::readback::{self, Look};
use crate::channel::Backstage;
use crate::channel::patience::{Patience, Search};
use crate::channel::transport::{Answer, Effect};
use crate::channel::without;
use crate::model::{Busy, Question, Reason, Receipt, SendError, Settled, Steps};

/// Containers that are made for a part before a person is asked.
const CONTAINERS: usize = 3;
/// Looks at a container within one attempt.
const LOOKS: u32 = 8;
/// How often a container that is said not to be there is asked for again: it may only not be there yet.
const AGAIN: u32 = 3;
/// How long the attempt rests if the container is still not ready.
const BREATH: Duration = Duration::from_secs(10);

/// How one service does it.
#[derive(Debug, Clone)]
pub(in crate::channel) struct Form {
    /// Where containers are made.
    pub make: [String; 2],
    /// Where they are published.
    pub publish: [String; 2],
    /// The field of a container that says how it stands.
    pub status: &'static str,
    /// The field that says what is wrong with it.
    pub wrong: &'static str,
    /// Pauses.
    pub pauses: Pauses,
}

/// Pauses of an exchange.
#[derive(Debug, Clone, Copy)]
pub(in crate::channel) struct Pauses {
    /// Between two looks at a container.
    pub look: Duration,
    /// After it is ready: published at once it is sometimes said not to be.
    pub ready: Duration,
    /// Before asking again for a container that is said not to be there.
    pub lost: Duration,
}

impl Pauses {
    /// As the reference pages advise.
    pub(in crate::channel) const REAL: Self = Self {
        look: Duration::from_secs(2),
        ready: Duration::from_secs(2),
        lost: Duration::from_secs(5),
    };
    /// On the practice wall, where nothing takes time.
    pub(in crate::channel) const WALL: Self = Self {
        look: Duration::from_millis(20),
        ready: Duration::ZERO,
        lost: Duration::from_millis(50),
    };
}

/// What a container is made of.
#[derive(Debug, Clone)]
pub(in crate::channel) struct Draft {
    /// Fields that every container of this part has.
    pub fields: Vec<(&'static str, String)>,
    /// Those of the picture, and those that stand in their place when it goes out without. No picture if `None`.
    pub picture: Option<Picture>,
    /// Why it has no picture although the message has one.
    pub plain: Option<String>,
    /// Those that make it an answer to another post.
    pub answer_to: Option<(&'static str, String)>,
}

/// The picture of a container.
#[derive(Debug, Clone)]
pub(in crate::channel) struct Picture {
    pub with: Vec<(&'static str, String)>,
    /// `None` if there is no post without a picture.
    pub without: Option<Vec<(&'static str, String)>>,
}

/// Where a part came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::channel) enum Out {
    /// Published; its id is written down.
    Published(String),
    /// Published by an earlier attempt, whose answer was lost: its id has to be looked for.
    Somewhere,
}

/// How a container stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    InProgress,
    Ready,
    Published,
    /// It is not there, or was not published in its time.
    Gone(Reason),
    /// It cannot be published; `lasting` if that is the picture's fault and another container will not help.
    Broken {
        reason: Reason,
        lasting: bool,
    },
}

/// One delivery's exchange.
#[derive(Debug, Clone, Copy)]
pub(in crate::channel) struct Exchange<'a> {
    pub graph: &'a Graph,
    pub form: &'a Form,
    pub steps: &'a Steps,
}

/// Makes a container and leaves it: it is never published, nobody sees it, and it is gone after a day.
pub(in crate::channel) async fn hidden(
    graph: &Graph,
    form: &Form,
    fields: &[(&str, &str)],
) -> Result<Backstage, SendError> {
    let path = form.make.each_ref().map(String::as_str);
    let answer = graph.send(Method::POST, &path, fields, Effect::Reads).await?;
    if let Some(trouble) = trouble(&answer) {
        return Err(graph.on_read(trouble));
    }
    let container = made(&answer).ok_or_else(|| super::client::no_sense("no container"))?;
    let steps = Steps::default();
    let exchange = Exchange {
        graph,
        form,
        steps: &steps,
    };
    match exchange.ready(&container).await? {
        Standing::Ready => Ok(Backstage {
            place: "as a container that is never published".to_owned(),
            read_back: true,
            removed: false,
        }),
        Standing::Published => {
            let text =
                format!("container {container} was published by the service itself; take the post away");
            Err(SendError::Refused(Reason::new("backstage-left", text)))
        }
        Standing::InProgress => {
            let text = "the service takes its time to prepare the post; it is never published";
            Err(SendError::NotSent(Reason::new("container", text)))
        }
        Standing::Gone(reason) | Standing::Broken { reason, .. } => Err(SendError::Refused(reason)),
    }
}

impl Exchange<'_> {
    /// The id of the part's post, if it is known.
    pub(in crate::channel) fn id(&self, part: usize) -> Option<String> {
        self.steps.get(&format!("part-{part}-id"))
    }

    /// Writes the id of the part's post down.
    pub(in crate::channel) async fn note_id(&self, part: usize, id: &str) -> Result<(), Reason> {
        self.steps.record(&format!("part-{part}-id"), id).await
    }

    /// What had to be left out of the parts, and what else there is to say.
    pub(in crate::channel) fn notes(&self, parts: usize, also: Option<String>) -> Option<String> {
        let steps = (1..=parts).flat_map(|part| ["plain", "alone"].map(|what| format!("part-{part}-{what}")));
        without::joined(steps.filter_map(|step| self.steps.get(&step)).chain(also))
    }

    /// The part's latest container, with its number.
    fn container(&self, part: usize) -> Option<(usize, String)> {
        (1..=CONTAINERS)
            .rev()
            .find_map(|number| Some((number, self.steps.get(&container_step(part, number))?)))
    }

    /// Whether this container was about to be published.
    fn was_sent(&self, part: usize, number: usize) -> bool {
        self.steps
            .get(&format!("part-{part}-sent"))
            .is_some_and(|sent| sent == number.to_string())
    }

    /// Takes the part from wherever earlier attempts left it to its publication. What an earlier attempt may have
    /// published must have been settled.
    pub(in crate::channel) async fn bring_out(
        &self,
        part: usize,
        draft: &Draft,
        look: Look<'_>,
    ) -> Result<Out, SendError> {
        if let Some(id) = self.id(part) {
            return Ok(Out::Published(id));
        }
        let (mut number, mut container) = match self.container(part) {
            Some(known) => known,
            None => (1, self.make(part, 1, draft).await?),
        };
        loop {
            let why = match self.ready(&container).await? {
                Standing::Ready => return self.publish(part, number, &container).await,
                Standing::Published => return Ok(Out::Somewhere),
                Standing::InProgress => {
                    let reason = Reason::new("container", "the service is still preparing the post");
                    let until = Some(crate::clock::later(self.graph.now(), BREATH));
                    return Err(SendError::Busy {
                        until,
                        reason,
                        scope: Busy::Account,
                    });
                }
                Standing::Gone(reason) => {
                    if let Some(id) = self.came_out(part, number, look).await? {
                        return Ok(Out::Published(id));
                    }
                    reason
                }
                Standing::Broken { reason, lasting } => {
                    // A post that came out of it came out as it was made.
                    if let Some(id) = self.came_out(part, number, look).await? {
                        return Ok(Out::Published(id));
                    }
                    if !self.has_picture(part, draft) {
                        if lasting {
                            return Err(SendError::Refused(reason));
                        }
                    } else if lasting || number + 1 == CONTAINERS {
                        self.leave_picture_out(part, draft, &reason).await?;
                    }
                    reason
                }
            };
            number += 1;
            if number > CONTAINERS {
                let text = format!(
                    "{CONTAINERS} containers came to nothing, the last one so: {reason}",
                    reason = why.text
                );
                return Err(SendError::Refused(Reason::new(why.code, text)));
            }
            container = self.make(part, number, draft).await?;
        }
    }

    /// The post that came of a container that is no longer worth anything, if it was about to be published: settling finds
    /// the part as well, but may write nothing down, and where it looked there may be more by now.
    async fn came_out(
        &self,
        part: usize,
        number: usize,
        look: Look<'_>,
    ) -> Result<Option<String>, SendError> {
        if !self.was_sent(part, number) {
            return Ok(None);
        }
        match readback::search(self.graph, look).await {
            Ok(Search::Found(found)) => {
                let noted = self.note_id(part, &found.remote_id).await;
                noted.map_err(SendError::NotSent)?;
                Ok(Some(found.remote_id))
            }
            // What cannot be read was no clearer to settling, so that a person has chosen to go on.
            Ok(Search::NotThere | Search::TooMuch) | Err(SendError::Refused(_)) => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn has_picture(&self, part: usize, draft: &Draft) -> bool {
        draft.picture.is_some() && self.steps.get(&format!("part-{part}-plain")).is_none()
    }

    /// From now on the part goes out without its picture, if there is such a thing.
    async fn leave_picture_out(&self, part: usize, draft: &Draft, reason: &Reason) -> Result<(), SendError> {
        if needs_picture(draft) {
            return Err(SendError::Refused(reason.clone()));
        }
        let note = format!("without its picture: {reason}");
        self.note(part, "plain", &note).await
    }

    async fn note(&self, part: usize, what: &str, note: &str) -> Result<(), SendError> {
        let step = format!("part-{part}-{what}");
        self.steps.record(&step, note).await.map_err(SendError::NotSent)
    }

    /// Makes a container and writes it down.
    async fn make(&self, part: usize, number: usize, draft: &Draft) -> Result<String, SendError> {
        if let Some(note) = &draft.plain {
            self.note(part, "plain", note).await?;
        }
        let mut fetches = 0;
        let container = loop {
            let with_picture = self.has_picture(part, draft);
            let alone = self.steps.get(&format!("part-{part}-alone")).is_some();
            let answer_to = draft.answer_to.as_ref().filter(|_| !alone);
            let mut fields: Vec<(&str, &str)> = Vec::new();
            let pictured = draft.picture.as_ref().and_then(|picture| {
                if with_picture {
                    Some(&picture.with)
                } else {
                    picture.without.as_ref()
                }
            });
            for (name, value) in draft
                .fields
                .iter()
                .chain(pictured.into_iter().flatten())
                .chain(answer_to)
            {
                fields.push((name, value));
            }
            let path = self.form.make.each_ref().map(String::as_str);
            // Nobody sees a container: whatever became of the request, another one does no harm.
            let answer = self
                .graph
                .send(Method::POST, &path, &fields, Effect::Reads)
                .await?;
            match trouble(&answer) {
                None => break made(&answer).ok_or_else(|| super::client::no_sense("no container"))?,
                Some(Trouble::Fetch(_)) if with_picture && fetches + 1 < AGAIN => {
                    fetches += 1;
                    tokio::time::sleep(self.form.pauses.look).await;
                }
                // What cannot be fetched now may be fetched later, where there is no post without it.
                Some(Trouble::Fetch(reason)) if with_picture && needs_picture(draft) => {
                    return Err(SendError::NotSent(reason));
                }
                // Nobody has seen anything. Whether it is the picture or the text that it will not have, the text alone
                // tells.
                Some(Trouble::Fault(Fault::Refused(reason))) if with_picture && !needs_picture(draft) => {
                    self.leave_picture_out(part, draft, &reason).await?;
                }
                Some(Trouble::Fetch(reason) | Trouble::Media(reason)) if with_picture => {
                    self.leave_picture_out(part, draft, &reason).await?;
                }
                Some(Trouble::Lost(reason) | Trouble::Fault(Fault::Missing(reason)))
                    if part == 1 && answer_to.is_some() =>
                {
                    let note = format!("the earlier post was gone, so this one stands alone: {reason}");
                    self.note(part, "alone", &note).await?;
                }
                Some(trouble) => return Err(self.graph.on_read(trouble)),
            }
        };
        self.graph.calm();
        let step = container_step(part, number);
        self.steps
            .record(&step, &container)
            .await
            .map_err(SendError::NotSent)?;
        Ok(container)
    }

    /// Waits until it is said how the container stands, but not for long.
    async fn ready(&self, container: &str) -> Result<Standing, SendError> {
        let pauses = self.form.pauses;
        let mut gone = 0;
        for look in 1.. {
            match self.standing(container).await? {
                Standing::InProgress if look < LOOKS => tokio::time::sleep(pauses.look).await,
                // A new container is often said not to be there for some seconds.
                Standing::Gone(reason) if reason.code != EXPIRED && gone < AGAIN => {
                    gone += 1;
                    tokio::time::sleep(pauses.lost).await;
                }
                standing @ (Standing::InProgress
                | Standing::Ready
                | Standing::Published
                | Standing::Gone(_)
                | Standing::Broken { .. }) => return Ok(standing),
            }
        }
        Ok(Standing::InProgress)
    }

    async fn standing(&self, container: &str) -> Result<Standing, SendError> {
        let (status, wrong) = (self.form.status, self.form.wrong);
        let fields = format!("id,{status},{wrong}");
        let parameters = [("fields", fields.as_str())];
        let answer = self
            .graph
            .send(Method::GET, &[container], &parameters, Effect::Reads)
            .await?;
        match trouble(&answer) {
            None => {}
            Some(Trouble::Lost(reason) | Trouble::Fault(Fault::Missing(reason))) => {
                return Ok(Standing::Gone(reason));
            }
            Some(Trouble::NotReady(_)) => return Ok(Standing::InProgress),
            Some(trouble) => return Err(self.graph.on_read(trouble)),
        }
        let body = answer.json().unwrap_or(Value::Null);
        let said = body[wrong].as_str().unwrap_or_default();
        // Sometimes only the text is there.
        let is_error = said.starts_with("Error") || said.starts_with("ERROR");
        let word = body[status]
            .as_str()
            .unwrap_or(if is_error { "ERROR" } else { "" });
        Ok(match word {
            "IN_PROGRESS" => Standing::InProgress,
            "FINISHED" => Standing::Ready,
            "PUBLISHED" => Standing::Published,
            "EXPIRED" => Standing::Gone(Reason::new(
                EXPIRED,
                "the container was not published within a day",
            )),
            "ERROR" => Standing::Broken {
                lasting: !matches!(said, "" | "UNKNOWN"),
                reason: Reason::new(
                    "container-error",
                    format!("the service could not prepare the post: {said}"),
                ),
            },
            _ => return Err(super::client::no_sense("a container without a status")),
        })
    }

    async fn publish(&self, part: usize, number: usize, container: &str) -> Result<Out, SendError> {
        tokio::time::sleep(self.form.pauses.ready).await;
        self.note(part, "sent", &number.to_string()).await?;
        let path = self.form.publish.each_ref().map(String::as_str);
        let fields = [("creation_id", container)];
        let mut again = 0;
        loop {
            let answer = self
                .graph
                .send(Method::POST, &path, &fields, Effect::Writes)
                .await?;
            let (pause, error) = match trouble(&answer) {
                None => {
                    let id = made(&answer).ok_or_else(|| unreadable(&answer))?;
                    // It is out. If its id cannot be written down, the next attempt finds it by its container.
                    self.note_id(part, &id).await.map_err(SendError::Unknown)?;
                    self.graph.calm();
                    return Ok(Out::Published(id));
                }
                Some(Trouble::NotReady(reason)) => (self.form.pauses.look, SendError::NotSent(reason)),
                // The service has lost it, or not got it yet. Which, and whether it was published before, is settled.
                Some(Trouble::Lost(reason) | Trouble::Fault(Fault::Missing(reason))) => {
                    (self.form.pauses.lost, SendError::Unknown(reason))
                }
                // What could not be fetched this time may be the next.
                Some(Trouble::Fetch(reason)) => {
                    if let Some(out) = self.after_all(container, &reason).await? {
                        return Ok(out);
                    }
                    (self.form.pauses.look, SendError::NotSent(reason))
                }
                Some(Trouble::Blocked(reason) | Trouble::Media(reason)) => {
                    return match self.after_all(container, &reason).await? {
                        Some(out) => Ok(out),
                        None => Err(SendError::Refused(reason)),
                    };
                }
                Some(Trouble::Fault(fault)) => return Err(self.on_publish(fault)),
            };
            again += 1;
            if again > AGAIN {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Whether a container was published although the service said no: that was seen on posts that were live all the same.
    /// One that is still ready was not.
    async fn after_all(&self, container: &str, no: &Reason) -> Result<Option<Out>, SendError> {
        match self.standing(container).await {
            Ok(Standing::Published) => Ok(Some(Out::Somewhere)),
            Ok(Standing::Ready) => Ok(None),
            Ok(Standing::InProgress | Standing::Gone(_) | Standing::Broken { .. }) | Err(_) => {
                Err(SendError::Unknown(no.clone()))
            }
        }
    }

    fn on_publish(&self, fault: Fault) -> SendError {
        match fault {
            Fault::Credential(reason) => SendError::Credential(reason),
            Fault::Throttled { reason, until, at } => self.graph.busy(reason, until, at),
            Fault::Refused(reason) | Fault::Link(reason) => SendError::Refused(reason),
            Fault::Missing(reason)
            | Fault::Duplicate(reason)
            | Fault::Unexplained(reason)
            | Fault::Temporary(reason) => SendError::Unknown(reason),
        }
    }

    /// Finds out whether the part, whose id is not known, was published. `Found` has its id; `Absent` means that
    /// [`Self::bring_out`] may go on.
    pub(in crate::channel) async fn settle(
        &self,
        part: usize,
        look: Look<'_>,
        question: &Question,
        patience: Patience,
    ) -> Result<Settled, SendError> {
        let Some((_, container)) = self
            .container(part)
            .filter(|(number, _)| self.was_sent(part, *number))
        else {
            return Ok(Settled::Absent);
        };
        let mut published = false;
        for again in 0..Patience::LOOKS {
            patience.before(again).await;
            match self.standing(&container).await {
                // The container can be published once only: the next attempt goes on with it.
                Ok(Standing::Ready | Standing::InProgress) => return Ok(Settled::Absent),
                Ok(Standing::Published) => published = true,
                Ok(Standing::Gone(_) | Standing::Broken { .. }) => {}
                Err(SendError::Refused(reason)) => return Ok(Settled::Unclear(reason)),
                Err(other) => return Err(other),
            }
            match readback::search(self.graph, look).await {
                // Too much, or we may not read: of the post itself nothing will ever be told, but its container was.
                Ok(Search::TooMuch) | Err(SendError::Refused(_)) if published => {
                    return Ok(Settled::Found(nameless(&container)));
                }
                looked => {
                    if let Some(settled) = Search::settles(looked, readback::MOST)? {
                        return Ok(settled);
                    }
                }
            }
        }
        match patience.absent(question)? {
            Settled::Absent if published => Ok(Settled::Found(nameless(&container))),
            settled @ (Settled::Found(_) | Settled::Absent | Settled::Refused(_) | Settled::Unclear(_)) => {
                Ok(settled)
            }
        }
    }

    /// The id that stands for the part's post if reading back does not show it.
    pub(in crate::channel) fn nameless(&self, part: usize) -> Option<Receipt> {
        self.container(part).map(|(_, container)| nameless(&container))
    }
}

const EXPIRED: &str = "container-expired";
/// Begins the id of a post that is known only by its container.
const NAMELESS: &str = "container:";

/// A post that was published, as its container says, and that reading back does not show.
fn nameless(container: &str) -> Receipt {
    Receipt {
        note: Some("published, but the service does not tell its address".to_owned()),
        ..Receipt::of(format!("{NAMELESS}{container}"))
    }
}

/// Whether the id is not the post's own: it can neither be answered to nor taken away.
pub(in crate::channel) fn is_nameless(id: &str) -> bool {
    id.starts_with(NAMELESS)
}

fn container_step(part: usize, number: usize) -> String {
    if number == 1 {
        format!("part-{part}-container")
    } else {
        format!("part-{part}-container-{number}")
    }
}

fn made(answer: &Answer) -> Option<String> {
    id(&answer.json()?)
}

fn unreadable(answer: &Answer) -> SendError {
    let text = format!("the service answered {} without a readable post", answer.status);
    SendError::Unknown(Reason::new("unreadable", text))
}
/// Whether there is no post without its picture.
fn needs_picture(draft: &Draft) -> bool {
    let picture = draft.picture.as_ref();
    picture.is_some_and(|picture| picture.without.is_none())
}
