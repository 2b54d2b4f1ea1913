//! Tells people of what is amiss: by mail over the relays in order, and by the accounts that go the other way round. What
//! nobody took is tried again without end; a notice may come twice after a crash, and never not at all.
//!
//! Which way a notice goes depends on which others failed, and what is over before anybody could be told is not told. So it
//! is due until one way has worked, and only then is what is still owed to somebody a mail that waits, in [`super::mails`].

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::mails::{post, rendering};
use super::{App, CONFIRMATION};
use crate::channel::Channel;
use crate::clock::{Timestamp, later, until};
use crate::config::Config;
use crate::model::{
    AccountId, AddressKind, DeliveryId, LaneId, Letter, MailKind, Mode, Notice, Phase, Post, Reach, Reason,
    Recipient, SendError, Sign, Subject, Trouble,
};
use crate::store::{Mail, StoreError};
use crate::verify::notice::{again, compose, held_until};

/// Told with one message.
const TOGETHER: usize = 50;
/// Notices that come close together go together.
const GATHER: Duration = Duration::from_secs(2);
/// How soon a look at what is due is repeated that failed at the store.
const AGAIN: Duration = Duration::from_secs(5);
/// Longest sleep: a clock that jumps is noticed by then.
const ROUND: Duration = Duration::from_mins(1);
/// Recipients of a list account that are told.
const RECIPIENTS: usize = 20;
/// How long a notice claims to be valid, to services that ask.
const VALID: Duration = Duration::from_hours(12);
/// How long somebody is tried who did not get the mail while others did.
const TRY_FOR: Duration = Duration::from_hours(24);

/// By which ways a notice went, and who is still owed a mail.
struct Went {
    ways: String,
    owed: Vec<Mail>,
}

impl App {
    /// Runs until `stop`.
    pub async fn watch_notices(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let next = match self.tell_due().await {
                Ok(next) => next.map_or(ROUND, |at| until(self.now(), at).min(ROUND)),
                Err(error) => {
                    tracing::error!(%error, "could not see whom to tell what");
                    AGAIN
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(next) => {}
                () = self.notices_wanted.notified() => {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(GATHER) => {}
                    }
                }
            }
        }
    }

    /// Tells what is due. Returns when the next notice is.
    pub async fn tell_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let config = self.config();
        let now = self.now();
        let mut tell = Vec::new();
        for notice in self.store.notices_due(now, TOGETHER).await? {
            let zone = &config.municipality.time_zone;
            match held_until(
                notice.condition.sign.trouble,
                config.alarm.quiet.as_ref(),
                now,
                zone,
            ) {
                Some(morning) => {
                    let wait = Err(("quiet hours".to_owned(), morning));
                    self.store.noticed(vec![notice.id], now, wait, Vec::new()).await?;
                }
                None => tell.push(notice),
            }
        }
        if !tell.is_empty() {
            let told = self.tell_all(&config, &tell, now).await;
            let ids = tell.iter().map(|notice| notice.id).collect();
            let tries = tell.iter().map(|notice| notice.tries).min().unwrap_or(0);
            let (result, owed) = match told {
                Ok(went) => (Ok(went.ways), went.owed),
                Err(why) => (Err((why, again(tries, self.now()))), Vec::new()),
            };
            match &result {
                Ok(way) => {
                    tracing::info!(notices = tell.len(), way, owed = owed.len(), "people were told");
                }
                Err((why, _)) => {
                    tracing::error!(notices = tell.len(), why, "nobody could be told; tried again");
                }
            }
            let mails_wait = !owed.is_empty();
            self.store.noticed(ids, self.now(), result, owed).await?;
            if mails_wait {
                self.mails_wanted.notify_one();
            }
        }
        self.store.next_notice().await
    }

    /// Tries the mail, and the other ways where the mail fails or where nobody may miss it. Returns by which it went.
    async fn tell_all(&self, config: &Config, notices: &[Notice], now: Timestamp) -> Result<Went, String> {
        let letter = compose(notices, &config.municipality, now)?;
        let mut ways = Vec::new();
        let mut troubles = Vec::new();
        let tried = self.tell_by_mail(config, notices, &letter, now).await;
        let (told, failed): (Vec<_>, Vec<_>) = tried.into_iter().partition(|(_, answer)| answer.is_ok());
        if !told.is_empty() {
            ways.push(format!("mail to {} of {}", told.len(), config.alarm.to.len()));
        }
        for (mail, answer) in &failed {
            if let Err(error) = answer {
                troubles.push(format!("mail: {}: {}", mail.recipient.masked(), error.reason()));
            }
        }
        if ways.is_empty() || notices.iter().any(is_urgent) {
            for account in &config.alarm.via {
                match self.tell_by(config, account, &letter, now).await {
                    Ok(()) => ways.push(account.to_string()),
                    Err(trouble) => troubles.push(format!("{account}: {trouble}")),
                }
            }
        }
        if ways.is_empty() {
            return Err(troubles.join("; "));
        }
        for trouble in troubles {
            tracing::warn!(trouble, "one way of telling people failed; another one worked");
        }
        // An address that the relay will not have is none that a repeat would reach.
        let owed = failed.into_iter().filter_map(|(mail, answer)| match answer {
            Ok(()) | Err(SendError::Refused(_)) => None,
            Err(_) => Some(mail),
        });
        Ok(Went {
            ways: ways.join(", "),
            owed: owed.collect(),
        })
    }

    /// Tries to mail everybody. Returns what came of each.
    async fn tell_by_mail(
        &self,
        config: &Config,
        notices: &[Notice],
        letter: &Letter,
        now: Timestamp,
    ) -> Vec<(Mail, Result<(), SendError>)> {
        let numbers: Vec<String> = notices.iter().map(|notice| notice.id.to_string()).collect();
        let about = numbers.join(",");
        let way = CONFIRMATION
            .parse()
            .map_err(|_| "no lane for mail".to_owned())
            .and_then(|account| self.open_way(&account));
        let mut tried = Vec::with_capacity(config.alarm.to.len());
        for recipient in &config.alarm.to {
            let deadline = later(now, TRY_FOR);
            let mut mail = Mail::new(
                MailKind::Alarm,
                &about,
                recipient,
                Some(letter.clone()),
                now,
                deadline,
            );
            let answer = match &way {
                Ok((channel, timeout)) => {
                    let rendering = rendering(config, letter, true);
                    let to = Some(recipient.clone());
                    publish(
                        channel,
                        &post(mail.id.clone(), rendering, to, now, deadline),
                        *timeout,
                    )
                    .await
                }
                Err(why) => Err(SendError::NotSent(Reason::new("no-way", why))),
            };
            mail.tries = 1;
            mail.not_before = again(0, self.now());
            tried.push((mail, answer));
        }
        tried
    }

    async fn tell_by(
        &self,
        config: &Config,
        account: &AccountId,
        letter: &Letter,
        now: Timestamp,
    ) -> Result<(), String> {
        let (channel, timeout) = self.open_way(account)?;
        let of = config.accounts.get(account).ok_or("no such account")?;
        let tell = async |recipient: Option<Recipient>, is_long: bool| {
            let rendering = rendering(config, letter, is_long);
            let post = post(DeliveryId::fresh(), rendering, recipient, now, later(now, VALID));
            let told = publish(&channel, &post, timeout).await;
            told.map_err(|error| error.to_string())
        };
        let Some(list) = super::list(config, of) else {
            return tell(None, false).await;
        };
        let is_long = of.settings.addresses_of() == AddressKind::Mail;
        // A list in files may be one of residents: an alarm is for those whom the configuration itself names.
        let mut trouble = format!(
            "its list names nobody in the configuration itself: list.{}",
            list.id
        );
        let mut told = false;
        for recipient in list.recipients.iter().take(RECIPIENTS) {
            match tell(Some(recipient.clone()), is_long).await {
                Ok(()) => told = true,
                Err(why) => trouble = why,
            }
        }
        if told { Ok(()) } else { Err(trouble) }
    }

    /// Whether all that an alarm tells of is over: then its end is told, and the alarm would only come after it.
    pub(super) async fn is_over(&self, mail: &Mail) -> Result<bool, StoreError> {
        for number in mail.about.split(',') {
            let Ok(id) = number.parse() else {
                return Ok(false);
            };
            let Some(notice) = self.store.notice(id).await? else {
                return Ok(false);
            };
            let condition = &notice.condition;
            // What happens in a moment is over at once, and its end is never told.
            let lasts = !condition.sign.trouble.is_event();
            if !(lasts && notice.phase == Phase::Begin && condition.ended_at.is_some()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn open_way(&self, account: &AccountId) -> Result<(Arc<dyn Channel>, Duration), String> {
        let lane = LaneId {
            account: account.clone(),
            mode: Mode::Live,
        };
        let plan = self.lane_plan(&lane).ok_or("no such account")?;
        let channel = plan.channel.map_err(|reason| reason.to_string())?;
        Ok((channel, plan.attempt_timeout))
    }

    /// Calls the outside address that raises the alarm when it is not called any more, until `stop`.
    pub async fn watch_heartbeat(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let beat = self.config().alarm.heartbeat.clone();
            let every = beat.as_ref().map_or(ROUND, |beat| beat.every);
            if let Some(beat) = beat {
                // A daemon whose writer does not get through is not alive.
                let lives = self.ready().await.is_ok();
                let sign = if lives && crate::check::link::opens(&self.http, &beat.url, HEARD_WITHIN).await {
                    None
                } else {
                    Some(Sign {
                        trouble: Trouble::Heartbeat,
                        text: "Den som vakar över Vårdkase utifrån nås inte.".to_owned(),
                        remedy: "Se efter adressen under alarm.heartbeat och vår förbindelse ut. Den utanför larmar snart."
                            .to_owned(),
                        step: None,
                    })
                };
                *super::lock(&self.heartbeat_trouble) = sign;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
        }
    }
}

/// How long the outside address may take.
const HEARD_WITHIN: Duration = Duration::from_secs(10);

/// Whether nobody may miss it: what stops a message, and what the daemon says of itself.
fn is_urgent(notice: &Notice) -> bool {
    let condition = &notice.condition;
    notice.phase == Phase::Begin
        && (condition.sign.trouble.reach() == Reach::Unreachable
            || condition.sign.trouble == Trouble::ForeignPost
            || condition.subject == Subject::Daemon)
}

async fn publish(channel: &Arc<dyn Channel>, post: &Post, timeout: Duration) -> Result<(), SendError> {
    match tokio::time::timeout(timeout, channel.publish(post)).await {
        Ok(answer) => answer.map(drop),
        Err(_) => Err(SendError::Unknown(Reason::new(
            "timeout",
            format!("no answer within {timeout:?}"),
        ))),
    }
}
