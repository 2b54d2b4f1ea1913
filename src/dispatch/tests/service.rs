//! A service that does as it is told and writes down what really happened.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use crate::channel::{Channel, Identity};
use crate::clock::{SharedClock, Timestamp, later};
use crate::model::{Busy, DeliveryId, Post, Proof, Question, Quota, Reason, Receipt, SendError, Settled};

/// What the service does with a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    /// Takes it and says so.
    Take,
    /// Never answers; has taken it or not.
    Hang { taken: bool },
    /// The answer is lost after a moment; has taken it or not.
    Cut { taken: bool },
    /// Cannot be reached.
    Down,
    /// Too many requests.
    Busy(Option<Duration>),
    /// This recipient must wait.
    Full(Duration),
    /// The credential is dead.
    Credential,
    /// No.
    Refuse,
    /// Our own adapter fails.
    Panic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Publish,
    Settle,
    Retract,
    Pin,
}

#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) at: Instant,
    pub(super) call: Call,
    pub(super) key: Option<DeliveryId>,
}

#[derive(Debug, Default)]
struct Inner {
    requests: Vec<Request>,
    /// The posts that stand there: key and broadcast, in order.
    posts: Vec<(DeliveryId, Instant)>,
    script: VecDeque<Act>,
    settles: VecDeque<Result<Settled, SendError>>,
    /// What it says of its limit, with one success after the other.
    quotas: VecDeque<Quota>,
    said: Option<Quota>,
    under_way: BTreeMap<DeliveryId, u32>,
    widest: usize,
    wrongs: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Service {
    inner: Mutex<Inner>,
    pub(super) proof: Proof,
    /// What it does when the script is at its end.
    pub(super) usual: Act,
    pub(super) latency: Duration,
    clock: SharedClock,
    /// Its own clock, which nobody sets.
    opened: (Instant, Timestamp),
}

impl Service {
    pub(super) fn new(clock: SharedClock, proof: Proof, usual: Act, script: &[Act]) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                script: script.iter().cloned().collect(),
                ..Inner::default()
            }),
            proof,
            usual,
            latency: Duration::from_millis(150),
            opened: (Instant::now(), clock.now()),
            clock,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(super) fn next_settles(&self, answers: Vec<SendError>) {
        self.lock().settles = answers.into_iter().map(Err).collect();
    }

    pub(super) fn next_settled(&self, answer: Settled) {
        self.lock().settles = VecDeque::from([Ok(answer)]);
    }

    pub(super) fn next_quotas(&self, quotas: Vec<Quota>) {
        self.lock().quotas = quotas.into();
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    pub(super) fn posts(&self) -> Vec<(DeliveryId, Instant)> {
        self.lock().posts.clone()
    }

    pub(super) fn widest(&self) -> usize {
        self.lock().widest
    }

    pub(super) fn wrongs(&self) -> Vec<String> {
        self.lock().wrongs.clone()
    }

    fn note(&self, call: Call, key: Option<&DeliveryId>) {
        self.lock().requests.push(Request {
            at: Instant::now(),
            call,
            key: key.cloned(),
        });
    }

    /// Whether the post stands there, among those that the question is about.
    fn stands(&self, question: &Question) -> bool {
        let at = |instant: Instant| later(self.opened.1, instant - self.opened.0);
        let inner = self.lock();
        let mut posts = inner.posts.iter();
        posts.any(|(known, made)| *known == question.post.key && at(*made) >= question.earliest())
    }

    fn accept(&self, key: &DeliveryId) {
        let mut inner = self.lock();
        let known = inner.posts.iter().any(|(known, _)| known == key);
        if !(known && self.proof == Proof::Keyed) {
            inner.posts.push((key.clone(), Instant::now()));
        }
    }
}

/// Counts an exchange while it is under way, also if it is dropped.
struct UnderWay<'a>(&'a Service, DeliveryId);

impl<'a> UnderWay<'a> {
    fn new(service: &'a Service, key: &DeliveryId) -> Self {
        let mut inner = service.lock();
        let count = inner.under_way.entry(key.clone()).or_default();
        *count += 1;
        if *count > 1 {
            inner.wrongs.push(format!("{key}: two exchanges at once"));
        }
        inner.widest = inner.widest.max(inner.under_way.len());
        drop(inner);
        Self(service, key.clone())
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.lock().under_way.remove(&self.1);
    }
}

fn because(code: &str) -> Reason {
    Reason::new(code, "as told")
}

#[async_trait]
impl Channel for Service {
    async fn publish(&self, post: &Post) -> Result<Receipt, SendError> {
        let _under_way = UnderWay::new(self, &post.key);
        self.note(Call::Publish, Some(&post.key));
        if self.clock.now() >= post.valid_until {
            self.lock()
                .wrongs
                .push(format!("{}: requested after its deadline", post.key));
        }
        let act = self
            .lock()
            .script
            .pop_front()
            .unwrap_or_else(|| self.usual.clone());
        if let Act::Hang { taken } = act {
            if taken {
                self.accept(&post.key);
            }
            std::future::pending::<()>().await;
        }
        sleep(self.latency / 2).await;
        if matches!(act, Act::Take | Act::Cut { taken: true }) {
            self.accept(&post.key);
        }
        sleep(self.latency / 2).await;
        if act == Act::Take {
            let mut inner = self.lock();
            inner.said = inner.quotas.pop_front();
        }
        match act {
            Act::Take => Ok(Receipt::of(post.key.as_str())),
            Act::Hang { .. } | Act::Cut { .. } => Err(SendError::Unknown(because("reset"))),
            Act::Down => Err(SendError::NotSent(because("connect"))),
            Act::Busy(wait) => Err(SendError::Busy {
                until: wait.map(|wait| later(self.clock.now(), wait)),
                scope: Busy::Account,
                reason: because("http-429"),
            }),
            Act::Full(wait) => Err(SendError::Busy {
                until: Some(later(self.clock.now(), wait)),
                scope: Busy::Recipient,
                reason: because("smtp-452-4.2.2"),
            }),
            Act::Credential => Err(SendError::Credential(because("http-401"))),
            Act::Refuse => Err(SendError::Refused(because("http-422"))),
            Act::Panic => panic!("as told"),
        }
    }

    async fn settle(&self, question: &Question) -> Result<Settled, SendError> {
        let key = &question.post.key;
        if self.proof != Proof::Keyed {
            self.note(Call::Settle, Some(key));
            sleep(self.latency).await;
        }
        let told = self.lock().settles.pop_front();
        if let Some(answer) = told {
            return answer;
        }
        Ok(match self.proof {
            Proof::ReadBack if self.stands(question) => Settled::Found(Receipt::of(key.as_str())),
            Proof::Keyed | Proof::ReadBack => Settled::Absent,
            Proof::Unproven => Settled::Unclear(because("unproven")),
        })
    }

    async fn retract(&self, _receipt: &Receipt) -> Result<(), SendError> {
        self.note(Call::Retract, None);
        sleep(self.latency).await;
        let act = self
            .lock()
            .script
            .pop_front()
            .unwrap_or_else(|| self.usual.clone());
        match act {
            Act::Take => Ok(()),
            Act::Hang { .. }
            | Act::Cut { .. }
            | Act::Down
            | Act::Busy(_)
            | Act::Full(_)
            | Act::Credential
            | Act::Refuse
            | Act::Panic => Err(SendError::Unknown(because("reset"))),
        }
    }

    async fn pin(&self, _receipt: &Receipt) -> Result<(), SendError> {
        self.note(Call::Pin, None);
        sleep(self.latency).await;
        Ok(())
    }

    fn quota(&self) -> Option<Quota> {
        self.lock().said.take()
    }

    async fn verify(&self) -> Result<Identity, SendError> {
        Err(SendError::NotSent(because("not-here")))
    }
}
