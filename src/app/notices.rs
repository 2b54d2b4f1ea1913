//! Tells people of what is amiss: by mail over the relays in order, and by the accounts that go the other way round. What
//! nobody took is tried again without end; a notice may come twice after a crash, and never not at all.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{App, CONFIRMATION};
use crate::channel::Channel;
use crate::clock::{Timestamp, later, until};
use crate::config::Config;
use crate::confirm::TEXT_RULE;
use crate::model::{
    AccountId, AddressKind, AlertId, BroadcastId, DeliveryId, Kind, LaneId, Lang, Mode, Notice, Phase, Post,
    Purpose, Reach, Recipient, Rendering, Sign, Steps, Subject, Trouble, Variant,
};
use crate::store::StoreError;
use crate::verify::notice::{Words, again, compose, held_until};

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
                    self.store.noticed(vec![notice.id], now, wait).await?;
                }
                None => tell.push(notice),
            }
        }
        if !tell.is_empty() {
            let told = self.tell_all(&config, &tell, now).await;
            let ids = tell.iter().map(|notice| notice.id).collect();
            let tries = tell.iter().map(|notice| notice.tries).min().unwrap_or(0);
            let result = told.map_err(|why| (why, again(tries, self.now())));
            match &result {
                Ok(way) => tracing::info!(notices = tell.len(), way, "people were told"),
                Err((why, _)) => {
                    tracing::error!(notices = tell.len(), why, "nobody could be told; tried again");
                }
            }
            self.store.noticed(ids, self.now(), result).await?;
        }
        self.store.next_notice().await
    }

    /// Tries the mail, and the other ways where the mail fails or where nobody may miss it. Returns by which it went.
    async fn tell_all(&self, config: &Config, notices: &[Notice], now: Timestamp) -> Result<String, String> {
        let words = compose(notices, &config.municipality, now);
        let mut ways = Vec::new();
        let mut troubles = Vec::new();
        match self.tell_by_mail(config, &words, now).await {
            Ok(way) => ways.push(way),
            Err(trouble) => troubles.push(trouble),
        }
        if ways.is_empty() || notices.iter().any(is_urgent) {
            for account in &config.alarm.via {
                match self.tell_by(config, account, &words, now).await {
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
        Ok(ways.join(", "))
    }

    async fn tell_by_mail(&self, config: &Config, words: &Words, now: Timestamp) -> Result<String, String> {
        let account: AccountId = CONFIRMATION.parse().map_err(|_| "no lane for mail".to_owned())?;
        let (channel, timeout) = self.open_way(&account)?;
        let mut troubles = Vec::new();
        let mut told = 0;
        for recipient in &config.alarm.to {
            let post = post(config, words, Some(recipient.clone()), true, now);
            match publish(&channel, &post, timeout).await {
                Ok(()) => told += 1,
                Err(trouble) => troubles.push(format!("{}: {trouble}", recipient.masked())),
            }
        }
        if told == 0 {
            return Err(format!("mail: {}", troubles.join("; ")));
        }
        Ok(format!("mail to {told} of {}", config.alarm.to.len()))
    }

    async fn tell_by(
        &self,
        config: &Config,
        account: &AccountId,
        words: &Words,
        now: Timestamp,
    ) -> Result<(), String> {
        let (channel, timeout) = self.open_way(account)?;
        let of = config.accounts.get(account).ok_or("no such account")?;
        let Some(list) = super::list(config, of) else {
            return publish(&channel, &post(config, words, None, false, now), timeout).await;
        };
        let is_long = of.settings.addresses_of() == AddressKind::Mail;
        // A list in files may be one of residents: an alarm is for those whom the configuration itself names.
        let mut trouble = format!(
            "its list names nobody in the configuration itself: list.{}",
            list.id
        );
        let mut told = false;
        for recipient in list.recipients.iter().take(RECIPIENTS) {
            let post = post(config, words, Some(recipient.clone()), is_long, now);
            match publish(&channel, &post, timeout).await {
                Ok(()) => told = true,
                Err(why) => trouble = why,
            }
        }
        if told { Ok(()) } else { Err(trouble) }
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

async fn publish(channel: &Arc<dyn Channel>, post: &Post, timeout: Duration) -> Result<(), String> {
    match tokio::time::timeout(timeout, channel.publish(post)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {timeout:?}")),
    }
}

/// A message outside every alert: number 0, which no alert has.
fn post(config: &Config, words: &Words, recipient: Option<Recipient>, is_long: bool, now: Timestamp) -> Post {
    let year = now.to_zoned_datetime(jiff::tz::TimeZone::UTC).year();
    let alert = AlertId::numbered(Mode::Live, year, 0);
    // A phone shows little: the headline tells what, `status` the rest.
    let text = if is_long { &words.text } else { &words.headline }.clone();
    Post {
        key: DeliveryId::fresh(),
        broadcast: BroadcastId::of(&alert, 1),
        alert,
        kind: Kind::Initial,
        mode: Mode::Live,
        purpose: Purpose::ConfirmFinal,
        rendering: Rendering {
            count: text.chars().count(),
            html: None,
            headline: words.headline.clone(),
            text,
            link: config.municipality.site.clone(),
            languages: vec![Lang::Sv],
            variant: Variant::Long,
            limit: TEXT_RULE.limit,
            unit: TEXT_RULE.unit,
            picture: None,
        },
        recipient,
        accepted_at: now,
        valid_until: later(now, VALID),
        root: None,
        parent: None,
        picture: None,
        steps: Steps::of([]),
    }
}
