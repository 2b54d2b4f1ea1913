//! Which adapter a lane gets. Here, and only here, live and practice part ways.
//!
//! A live lane gets the account's own addresses and credentials. A drill or test lane gets an adapter whose every
//! address is on the practice wall and whose credentials were made for it: it could not reach the public if it tried.

use std::sync::Arc;

use secrecy::SecretString;

use super::{App, CONFIRMATION, lock};
use crate::channel::secrets::InMemory;
use crate::channel::{Channel, Pace, Parts, Secrets, Transport, email};
use crate::config::{Account, Config, Relay, RelayTls, Unproven};
use crate::dispatch::{Accounts, LanePlan};
use crate::model::{AccountId, LaneId, Mode, Reason};
use crate::vault::Vault;

impl Accounts for App {
    fn plan(&self, lane: &LaneId) -> Option<LanePlan> {
        self.lane_plan(lane)
    }
}

impl App {
    /// The plan of a lane, with its adapter open. The same adapter as last time until a reload.
    pub(super) fn lane_plan(&self, lane: &LaneId) -> Option<LanePlan> {
        // Held to the end: a reload waits, or what is made here of the old configuration would be kept under the new one.
        let mut open = lock(&self.open);
        if let Some(plan) = open.get(lane) {
            return Some(plan.clone());
        }
        let config = self.config();
        let plan = if lane.account.as_str() == CONFIRMATION {
            self.confirmation_plan(&config, lane)
        } else {
            self.account_plan(&config, config.accounts.get(&lane.account)?, lane.mode)
        };
        open.insert(lane.clone(), plan.clone());
        Some(plan)
    }

    fn account_plan(&self, config: &Config, account: &Account, mode: Mode) -> LanePlan {
        let channel = match mode {
            Mode::Live => match self.off(&account.id) {
                Some(off) => Err(off.why()),
                None => account
                    .settings
                    .open(self.parts(config, &account.id))
                    .map(|channel| self.behind_switch(&account.id, channel)),
            },
            Mode::Drill | Mode::Test => self.open_at_wall(config, account, mode),
        };
        LanePlan {
            mode,
            pace: account.pace,
            unproven: account.unproven,
            attempt_timeout: attempt_timeout(config, account),
            credentials: match mode {
                Mode::Live => self.held_by(&account.id),
                Mode::Drill | Mode::Test => Arc::default(),
            },
            channel,
        }
    }

    /// Names of the secrets that the vault holds for an account.
    pub(super) fn held_by(&self, account: &AccountId) -> Arc<[String]> {
        let held = self.vault.list();
        held.into_iter()
            .filter(|entry| entry.owner == account.as_str())
            .map(|entry| entry.name)
            .collect()
    }

    /// The confirmation goes by the real relays in every mode, marked as the mode says: the crisis organisation is no
    /// public lane, and a drill that does not try its confirmation has not tried it.
    fn confirmation_plan(&self, config: &Config, lane: &LaneId) -> LanePlan {
        let parts = self.parts(config, &lane.account);
        LanePlan {
            mode: lane.mode,
            pace: Pace {
                parallel: 4,
                ..email::KIND.pace
            },
            // The same Message-ID goes again: most readers fold it into one, and a missing confirmation is worse.
            unproven: Unproven::Resend,
            attempt_timeout: config.daemon.mail_timeout,
            credentials: self.relay_log_ins(config),
            channel: Ok(email::confirmation(&parts, &config.confirmation.from)),
        }
    }

    /// Names of the relays' log-ins, as the confirmation uses them.
    fn relay_log_ins(&self, config: &Config) -> Arc<[String]> {
        let names = config.relays.iter().flat_map(|relay| {
            self.held_by(&relay.id)
                .iter()
                .map(|name| format!("{}/{name}", relay.id))
                .collect::<Vec<_>>()
        });
        names.collect()
    }

    pub(super) fn parts(&self, config: &Config, account: &AccountId) -> Parts {
        parts(config, &self.vault, &self.http, account)
    }

    fn open_at_wall(
        &self,
        config: &Config,
        account: &Account,
        mode: Mode,
    ) -> Result<Arc<dyn Channel>, Reason> {
        let simulated = self
            .wall
            .open_account(mode, &account.id, account.channel, &config.municipality.name);
        let sink = Relay {
            id: account.id.clone(),
            host: simulated.site.smtp.ip().to_string(),
            port: simulated.site.smtp.port(),
            tls: RelayTls::None,
            login: false,
            patience: config.daemon.mail_timeout / 4,
        };
        let secrets = InMemory::of(
            simulated
                .secrets
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        account.settings.at_wall(&simulated.site).open(Parts {
            account: account.id.clone(),
            secrets: Arc::new(secrets),
            http: self.http.clone(),
            relays: Arc::new([sink]),
            relay_secrets: Arc::new(InMemory::default()),
            sender: config.municipality.name.clone(),
            domain: domain(config),
        })
    }
}

/// What the adapter of a live account is made of.
pub fn parts(config: &Config, vault: &Vault, http: &Transport, account: &AccountId) -> Parts {
    Parts {
        account: account.clone(),
        secrets: vault.secrets_for(account),
        http: http.clone(),
        relays: config.relays.clone().into(),
        relay_secrets: Arc::new(RelaySecrets(vault.clone())),
        sender: config.municipality.name.clone(),
        domain: domain(config),
    }
}

/// Longest time of one attempt on an account.
fn attempt_timeout(config: &Config, account: &Account) -> std::time::Duration {
    let usual = if account.channel.id == email::KIND.id {
        config.daemon.mail_timeout
    } else {
        config.daemon.attempt_timeout
    };
    account.attempt_timeout.unwrap_or(usual)
}

fn domain(config: &Config) -> String {
    config
        .municipality
        .site
        .host_str()
        .unwrap_or("localhost")
        .to_owned()
}

/// The log-ins of the relays, by `<relay id>/<name>`.
#[derive(Debug)]
struct RelaySecrets(Vault);

#[async_trait::async_trait]
impl Secrets for RelaySecrets {
    fn get(&self, name: &str) -> Option<SecretString> {
        let (relay, name) = name.split_once('/')?;
        self.0.secrets_for(&relay.parse().ok()?).get(name)
    }

    async fn rotate(&self, name: &str, _secret: SecretString) -> Result<(), Reason> {
        Err(Reason::new(
            "no-rotation",
            format!("{name} is set by a person, with `vardkase credentials set`"),
        ))
    }
}
