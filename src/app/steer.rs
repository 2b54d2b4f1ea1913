//! What the last looks at the accounts mean for a command: who is not waited for, who takes over at once, where a person is
//! asked at once.
//!
//! It only ever makes something go sooner. What cannot be found out changes nothing, and stops nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::App;
use super::plan::Draft;
use crate::check::Finding;
use crate::clock::{Timestamp, earlier};
use crate::config::Config;
use crate::model::{AccountId, Injection, Look, Mode, Reason, Subject};
use crate::store::StoreError;
use crate::verify::steer::{self, Known, Link, Silent};

/// The check's id of an account that did not answer when it was last looked at.
pub const UNREACHABLE: &str = "unreachable";
/// How long a message waits for what is known of its accounts.
const PATIENCE: Duration = Duration::from_millis(500);

impl App {
    /// Writes into a draft which of its accounts are known not to answer, and what is said of it.
    pub(super) async fn steer(&self, config: &Config, draft: &mut Draft<'_>) {
        let Some(plan) = &draft.plan else { return };
        let mut links: BTreeMap<AccountId, Link> = BTreeMap::new();
        for (id, _) in &plan.accounts {
            let link = Link {
                addressed: draft.accounts.iter().any(|account| account.id == *id),
                by_hand: config
                    .accounts
                    .get(id)
                    .is_some_and(|account| account.channel.can.by_hand),
                stand_in: draft.takes_over(plan, id),
            };
            links.insert(id.clone(), link);
        }
        let now = self.now();
        let silent = match draft.command.mode {
            Mode::Live => match tokio::time::timeout(PATIENCE, self.silent(config, &links, now)).await {
                Ok(Ok(silent)) => silent,
                Ok(Err(error)) => {
                    tracing::error!(%error, "what is known of the accounts could not be read; nobody takes over at once");
                    BTreeMap::new()
                }
                Err(_) => {
                    tracing::warn!(
                        "what is known of the accounts was not read in time; nobody takes over at once"
                    );
                    BTreeMap::new()
                }
            },
            // Looks are at the live accounts. A drill has what it says itself that does not work.
            Mode::Drill => self.made_to_fail(&links, now),
            Mode::Test => BTreeMap::new(),
        };
        draft.unreachable = steer::steer(&links, &silent);
        let zone = &config.municipality.time_zone;
        let said = draft.unreachable.iter().map(|one| {
            let addressed = links.get(&one.account).is_some_and(|link| link.addressed);
            let text = steer::said(one, addressed, now, zone);
            Finding::warn(UNREACHABLE, Some(&one.account), text)
        });
        draft.findings.extend(said);
    }

    /// The accounts that the last look found unreachable.
    async fn silent(
        &self,
        config: &Config,
        links: &BTreeMap<AccountId, Link>,
        now: Timestamp,
    ) -> Result<BTreeMap<AccountId, Silent>, StoreError> {
        let (all, conditions) = tokio::try_join!(self.store.latest_by(Look::Reach), self.store.conditions())?;
        let mut found = BTreeMap::new();
        for id in links.keys() {
            let subject = Subject::Account(id.clone());
            let seen = all.iter().find(|one| one.observation.subject == subject);
            let Some((seen, sign)) = seen.and_then(|seen| Some((seen, steer::trouble(seen)?))) else {
                continue;
            };
            let of_it = conditions
                .iter()
                .find(|one| one.subject == subject && one.sign.trouble == sign.trouble);
            // What got out while it was being looked at counts as well.
            let asked_at = earlier(seen.at, Duration::from_millis(seen.took_ms));
            let known = Known {
                seen: Some(seen),
                since: of_it.map(|one| one.since),
                out_since: self.store.out_since(id, Mode::Live, asked_at).await?,
                steers_for: config.verification.steers_for,
                now,
            };
            if let Some(silent) = steer::silent(&known) {
                found.insert(id.clone(), silent);
            }
        }
        Ok(found)
    }

    /// The accounts that a drill makes fail at this moment.
    fn made_to_fail(&self, links: &BTreeMap<AccountId, Link>, now: Timestamp) -> BTreeMap<AccountId, Silent> {
        let injected = self.injected();
        let failing = injected.iter().filter_map(Injection::account);
        failing
            .filter(|id| links.contains_key(*id))
            .map(|id| {
                let silent = Silent {
                    since: now,
                    seen_at: now,
                    reason: Reason::new("drill", "Övningen låter kontot sluta fungera."),
                };
                (id.clone(), silent)
            })
            .collect()
    }
}
