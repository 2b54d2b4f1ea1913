//! Which adapter a lane gets. Here, and only here, live and practice part ways.
//!
//! A live lane gets the account's own addresses and credentials. A drill or test lane gets an adapter whose every
//! address is on the practice wall and whose credentials were made for it: it could not reach the public if it tried. What
//! opens an account as it is asks for a [`Live`], which only a live lane has to give.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::{App, CONFIRMATION, lock};
use crate::channel::secrets::InMemory;
use crate::channel::{Backstage, Channel, Pace, Parts, Secrets, Transport, email};
use crate::config::{Account, Config, Relay, RelayTls, Unproven};
use crate::dispatch::{Accounts, LanePlan};
use crate::model::{AccountId, Injection, LaneId, Live, Mode, Post, Practice, Reason, SendError, Side};
use crate::vault::Vault;

impl Accounts for App {
    fn plan(&self, lane: &LaneId) -> Option<LanePlan> {
        self.lane_plan(lane)
    }

    fn astray(&self) -> Duration {
        self.http.astray()
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
            self.account_plan(&config, config.accounts.get(&lane.account)?, lane)
        };
        open.insert(lane.clone(), plan.clone());
        Some(plan)
    }

    fn account_plan(&self, config: &Config, account: &Account, lane: &LaneId) -> LanePlan {
        let side = lane.side();
        let (channel, credentials) = match side {
            Side::Live(live) => {
                let channel = match self.off(&account.id) {
                    Some(off) => Err(off.why()),
                    None => self.open_live(live, config, account),
                };
                (channel, self.held_by(&account.id))
            }
            Side::Practice(practice) => (self.open_at_wall(config, account, practice), Arc::default()),
        };
        LanePlan {
            side,
            pace: account.pace,
            unproven: account.unproven,
            attempt_timeout: attempt_timeout(config, account),
            credentials,
            channel,
        }
    }

    fn open_live(&self, live: Live, config: &Config, account: &Account) -> Result<Arc<dyn Channel>, Reason> {
        let channel = account.settings.open(self.parts(live, config, &account.id))?;
        Ok(self.behind_switch(&account.id, channel))
    }

    /// The adapter that really sends, of an account that may be off: it hears and lets readers leave then, and sends nothing.
    pub(super) fn listener(&self, account: &AccountId) -> Result<Arc<dyn Channel>, Reason> {
        let lane = LaneId {
            account: account.clone(),
            mode: Mode::Live,
        };
        let config = self.config();
        match (self.lane_plan(&lane), config.accounts.get(account), lane.side()) {
            (Some(_), Some(account), Side::Live(live)) if self.off(&account.id).is_some() => {
                self.open_live(live, &config, account)
            }
            (Some(plan), ..) => plan.channel,
            (None, ..) => Err(Reason::new("no-account", "there is no such account")),
        }
    }

    /// An account as it is, for a drill: it can be asked and spoken to where the public cannot see, and nothing else.
    pub(super) fn unseen(&self, account: &AccountId) -> Result<Unseen, Reason> {
        let lane = LaneId {
            account: account.clone(),
            mode: Mode::Live,
        };
        let Some(plan) = self.lane_plan(&lane) else {
            return Err(Reason::new(
                "no-account",
                "the configuration does not have this account",
            ));
        };
        Ok(Unseen {
            channel: plan.channel?,
            patience: plan.attempt_timeout,
        })
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
        let parts = self.letterhead(config, &lane.account);
        LanePlan {
            side: lane.side(),
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

    /// What an account is made of, its own secrets included.
    fn parts(&self, _leave: Live, config: &Config, account: &AccountId) -> Parts {
        parts(config, &self.vault, &self.http, account)
    }

    /// What a mail by the real relays is made of. No account's secrets are in it.
    fn letterhead(&self, config: &Config, account: &AccountId) -> Parts {
        letterhead(config, &self.vault, &self.http, account)
    }

    fn open_at_wall(
        &self,
        config: &Config,
        account: &Account,
        practice: Practice,
    ) -> Result<Arc<dyn Channel>, Reason> {
        let mode = practice.mode();
        let simulated = self
            .wall
            .open_account(mode, &account.id, account.channel, &config.municipality.name);
        let at = |id: &AccountId, address: std::net::SocketAddr| Relay {
            id: id.clone(),
            host: address.ip().to_string(),
            port: address.port(),
            tls: RelayTls::None,
            login: false,
            patience: config.daemon.mail_timeout / 4,
        };
        let down = self.injected();
        let is_down =
            |relay: &Relay| mode == Mode::Drill && down.contains(&Injection::RelayDown(relay.id.clone()));
        let relays: Arc<[Relay]> = if config.relays.iter().any(is_down) {
            // As many as there are, so that it shows whether the next one takes over.
            let all = config.relays.iter().map(|relay| {
                let address = if is_down(relay) {
                    self.wall.nobody()
                } else {
                    simulated.site.smtp
                };
                at(&relay.id, address)
            });
            all.collect()
        } else {
            Arc::new([at(&account.id, simulated.site.smtp)])
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
            relays,
            relay_secrets: Arc::new(InMemory::default()),
            sender: config.municipality.name.clone(),
            domain: domain(config),
        })
    }
}

/// An account as the public knows it, in the hands of a drill: nothing that the public sees can be done with it.
#[derive(Debug)]
pub(super) struct Unseen {
    channel: Arc<dyn Channel>,
    patience: std::time::Duration,
}

impl Unseen {
    /// Publishes where the public cannot see, reads it back, and takes it away: three attempts' time.
    pub(super) async fn backstage(&self, post: &Post) -> Result<Backstage, SendError> {
        let limit = self.patience * 3;
        match tokio::time::timeout(limit, self.channel.backstage(post)).await {
            Ok(answer) => answer,
            Err(_) => Err(SendError::Unknown(Reason::new(
                "timeout",
                format!("no answer within {limit:?}; look at the account whether anything was left there"),
            ))),
        }
    }
}

/// What the adapter of a live account is made of, its own secrets included. The daemon comes here with a [`Live`] only;
/// besides it, the command by which a person signs an account in.
pub fn parts(config: &Config, vault: &Vault, http: &Transport, account: &AccountId) -> Parts {
    Parts {
        secrets: vault.secrets_for(account),
        ..letterhead(config, vault, http, account)
    }
}

fn letterhead(config: &Config, vault: &Vault, http: &Transport, account: &AccountId) -> Parts {
    Parts {
        account: account.clone(),
        secrets: Arc::new(InMemory::default()),
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
