//! The mails that the daemon writes beside broadcasts: reports of drills, what an alarm still owes somebody, the certificate,
//! reminders. Each is on disk before its first try, tried over the relays in their order under one Message-ID until one has
//! taken it, by one node at a time: a restart loses none, and sends none again that a relay said it took.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{App, CONFIRMATION};
use crate::clock::{Timestamp, later, until};
use crate::config::Config;
use crate::confirm::TEXT_RULE;
use crate::model::{
    AccountId, AlertId, BroadcastId, DeliveryId, Kind, LaneId, Lang, Letter, MailKind, Mode, Post, Purpose,
    Reason, Recipient, Rendering, SendError, Steps, Variant,
};
use crate::store::{Mail, MailChange, StoreError};

/// How often what is due is looked for although nothing happens: the clock may have been set.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How soon what failed at the store is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// The first wait after a mail that did not get out; doubled each time, up to `LONGEST_WAIT`.
const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_mins(15);
/// How much longer than a try may take other nodes stay away: to write down what came of it takes time too.
const CLAIM_SLACK: Duration = Duration::from_secs(30);
/// Mails that are looked at together.
const TOGETHER: usize = 100;

impl App {
    /// Sends what waits until `stop`.
    pub async fn watch_mails(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let wait = match self.send_mails().await {
                Ok(Some(next)) => until(self.now(), next).min(LOOK_AGAIN),
                // Another node may write some.
                Ok(None) => LOOK_AGAIN,
                Err(error) => {
                    tracing::error!(%error, "could not look which mail is due");
                    AGAIN
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.mails_wanted.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Tries every mail that is due. Returns when the next one is.
    pub async fn send_mails(&self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.now();
        let waiting = self.store.mails_waiting(TOGETHER).await?;
        let due = waiting.into_iter().filter(|mail| mail.not_before <= now);
        let tries = due.map(|mail| self.try_mail(mail));
        for tried in futures::future::join_all(tries).await {
            tried?;
        }
        let next = self.store.mails_waiting(1).await?;
        Ok(next.first().map(|mail| mail.not_before))
    }

    async fn try_mail(&self, mail: Mail) -> Result<(), StoreError> {
        let now = self.now();
        if let Some(why) = self.is_pointless(&mail, now).await? {
            return self.give_up(mail, why).await;
        }
        let wait = FIRST_WAIT
            .saturating_mul(1 << mail.tries.min(10))
            .min(LONGEST_WAIT)
            // Whoever else works on this database stays away while we try.
            .max(self.config().daemon.mail_timeout.saturating_add(CLAIM_SLACK));
        let claimed_until = later(now, wait);
        let claim = MailChange::Try(mail.clone(), claimed_until);
        if !self.store.mail(claim, now).await? {
            return Ok(());
        }
        let tried = |mail: &Mail| Mail {
            tries: mail.tries.saturating_add(1),
            not_before: claimed_until,
            ..mail.clone()
        };
        let change = match self.send_mail(&mail).await {
            Ok(()) => MailChange::Tried(mail, Some(true), None),
            Err(SendError::Refused(reason)) => return self.give_up(tried(&mail), reason).await,
            Err(error) if claimed_until >= mail.deadline => {
                return self.give_up(tried(&mail), error.reason().clone()).await;
            }
            Err(error) => {
                let (kind, about, code) = (mail.kind.as_str(), &mail.about, &error.reason().code);
                tracing::warn!(kind, about, code, "a mail did not get out; it is tried again");
                MailChange::Tried(mail, None, Some(error.reason().clone()))
            }
        };
        self.store.mail(change, self.now()).await?;
        Ok(())
    }

    /// Tries a mail no more. What somebody was to be reminded of goes to the unit instead.
    async fn give_up(&self, mail: Mail, why: Reason) -> Result<(), StoreError> {
        let (kind, about, code) = (mail.kind.as_str(), &mail.about, &why.code);
        tracing::error!(kind, about, code, "a mail is given up");
        let now = self.now();
        let instead = match mail.kind {
            MailKind::Reminder => self.reminds_instead(&mail, now),
            MailKind::Drill | MailKind::Alarm | MailKind::Certificate => Vec::new(),
        };
        let many = instead.len();
        let applied = self
            .store
            .mail(MailChange::GiveUp(mail, why, instead), now)
            .await?;
        if applied && many > 0 {
            self.mails_wanted.notify_one();
        }
        Ok(())
    }

    /// Why a mail is not worth a try any more, if it is not.
    async fn is_pointless(&self, mail: &Mail, now: Timestamp) -> Result<Option<Reason>, StoreError> {
        if now >= mail.deadline {
            return Ok(Some(Reason::new("expired", "its time passed before it got out")));
        }
        if mail.kind == MailKind::Alarm && self.is_over(mail).await? {
            return Ok(Some(Reason::new(
                "over",
                "what it tells of is over; that is told by itself",
            )));
        }
        Ok(None)
    }

    /// One try: under the same Message-ID each time.
    async fn send_mail(&self, mail: &Mail) -> Result<(), SendError> {
        let post = match (&mail.letter, mail.kind) {
            (Some(letter), _) => {
                let rendering = rendering(&self.config(), letter, true);
                let recipient = Some(mail.recipient.clone());
                post(
                    mail.id.clone(),
                    rendering,
                    recipient,
                    mail.written_at,
                    mail.deadline,
                )
            }
            (None, MailKind::Drill) => self.drill_post(mail).await?,
            (None, MailKind::Alarm | MailKind::Certificate | MailKind::Reminder) => {
                return Err(SendError::Refused(Reason::new("no-letter", "it says nothing")));
            }
        };
        let not_sent = |text: &str| SendError::NotSent(Reason::new("no-account", text));
        let account: AccountId = CONFIRMATION
            .parse()
            .map_err(|_| not_sent("there is no lane for mail"))?;
        let lane = LaneId {
            account,
            mode: post.mode,
        };
        let plan = self
            .lane_plan(&lane)
            .ok_or_else(|| not_sent("there is no lane for mail"))?;
        let channel = plan.channel.map_err(SendError::NotSent)?;
        match tokio::time::timeout(plan.attempt_timeout, channel.publish(&post)).await {
            Ok(answer) => answer.map(drop),
            Err(_) => Err(SendError::Unknown(Reason::new(
                "timeout",
                format!("no answer within {:?}", plan.attempt_timeout),
            ))),
        }
    }
}

/// What a letter is to a channel. A phone shows little: the subject tells what, `status` the rest.
pub(super) fn rendering(config: &Config, letter: &Letter, is_long: bool) -> Rendering {
    let text = if is_long { &letter.text } else { &letter.subject }.clone();
    Rendering {
        count: text.chars().count(),
        html: letter.html.clone().filter(|_| is_long),
        headline: letter.subject.clone(),
        text,
        link: config.municipality.site.clone(),
        languages: vec![Lang::Sv],
        variant: Variant::Long,
        limit: TEXT_RULE.limit,
        unit: TEXT_RULE.unit,
        picture: None,
    }
}

/// A live message outside every alert: number 0, which no alert has.
pub(super) fn post(
    key: DeliveryId,
    rendering: Rendering,
    recipient: Option<Recipient>,
    at: Timestamp,
    valid_until: Timestamp,
) -> Post {
    let year = at.to_zoned_datetime(jiff::tz::TimeZone::UTC).year();
    let alert = AlertId::numbered(Mode::Live, year, 0);
    Post {
        key,
        broadcast: BroadcastId::of(&alert, 1),
        alert,
        kind: Kind::Initial,
        mode: Mode::Live,
        purpose: Purpose::ConfirmFinal,
        rendering,
        recipient,
        accepted_at: at,
        valid_until,
        root: None,
        parent: None,
        picture: None,
        steps: Steps::of([]),
    }
}
