//! `accounts`, `channels` and `verify`: what we have, what it can, whether it answers.

use std::path::Path;

use serde_json::json;

use super::client::Client;
use super::{Exit, Failure, Outcome};
use crate::app::request::{AccountView, Switched, Verification};
use crate::model::{AccountId, Seen, Sign, Trouble};

/// Arguments of `accounts`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    /// What to do with one; lists all if not given.
    #[command(subcommand)]
    command: Option<Command>,
    /// Print a JSON list.
    #[arg(long)]
    json: bool,
}

/// The sub-commands of `accounts`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Publish nothing on an account any more, from this moment on and over every restart.
    Disable {
        /// The account.
        account: AccountId,
        /// Why, for those who find it so.
        #[arg(long)]
        reason: String,
    },
    /// Publish on it again.
    Enable {
        /// The account.
        account: AccountId,
        /// Why, for the journal.
        #[arg(long)]
        reason: Option<String>,
    },
    /// What concerns the register.
    #[command(flatten)]
    Register(super::register::AccountsCommand),
}

async fn act(config: &Path, command: &Command) -> Outcome {
    let (account, what, reason) = match command {
        Command::Disable { account, reason } => (account, "disable", Some(reason)),
        Command::Enable { account, reason } => (account, "enable", reason.as_ref()),
        Command::Register(command) => return super::register::accounts(config, command).await,
    };
    let client = Client::of(config)?;
    let path = format!("/api/v1/accounts/{account}/{what}");
    let switched: Switched = client.post(&path, &json!({ "reason": reason })).await?;
    match (&switched.disabled, switched.changed) {
        (Some(_), _) => outln!(
            "{account}: disabled. Nothing is published there until `vardkase accounts enable {account}`; what waited goes to a \
             person, or to the account that stands in. To take the service's own credential back: `vardkase credentials revoke \
             {account}`"
        ),
        (None, true) => outln!(
            "{account}: enabled. What was handed over meanwhile stays with people until `vardkase retry`"
        ),
        (None, false) => outln!("{account}: was not disabled"),
    }
    Ok(Exit::Ok)
}

/// Runs `accounts`: by the daemon if it answers (it knows the vault), else by the configuration alone.
pub async fn run(config: &Path, args: &Args) -> Outcome {
    if let Some(command) = &args.command {
        return act(config, command).await;
    }
    let loaded = super::load(config)?;
    let client = Client::at(&loaded.daemon.socket)?;
    let accounts: Vec<AccountView> = match client.get("/api/v1/accounts").await {
        Ok(accounts) => accounts,
        Err(Failure {
            exit: Exit::NoDaemon, ..
        }) => {
            eprintln!("the daemon does not answer: showing the configuration; credentials are not looked at");
            crate::app::accounts(
                &loaded,
                |account| {
                    let found = crate::app::survey(&loaded, account)?;
                    usize::try_from(found.entries).ok()
                },
                |_| None,
            )
        }
        Err(other) => return Err(other),
    };
    if args.json {
        super::print_json(&accounts)?;
        return Ok(Exit::Ok);
    }
    for account in &accounts {
        let groups = account
            .groups
            .iter()
            .map(crate::model::GroupId::as_str)
            .collect::<Vec<_>>()
            .join(",");
        let note = match (&account.problem, account.recipients) {
            (Some(problem), _) => format!("NOT READY: {problem}"),
            (None, Some(n)) => format!("{n} recipients"),
            (None, None) => account.url.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        outln!(
            "{:<22} {:<14} {:<10} {groups:<22} {note}",
            account.account,
            account.channel,
            account.proof
        );
    }
    Ok(Exit::Ok)
}

/// Arguments of `channels`.
#[derive(Debug, clap::Args)]
pub struct ChannelsArgs {
    /// Print a JSON list.
    #[arg(long)]
    json: bool,
}

/// Runs `channels`.
pub fn channels(args: &ChannelsArgs) -> Outcome {
    let channels = crate::app::channels();
    if args.json {
        super::print_json(&json!(channels))?;
        return Ok(Exit::Ok);
    }
    for channel in channels {
        let can: Vec<_> = [
            (channel.can.thread, "thread"),
            (channel.can.edit, "edit"),
            (channel.can.retract, "retract"),
            (channel.can.pin, "pin"),
            (channel.can.picture, "picture"),
            (channel.can.link_card, "link card"),
            (channel.can.recipients, "recipients"),
            (channel.can.by_hand, "by hand"),
            (channel.can.profile, "profile"),
            (channel.can.backstage, "backstage"),
        ]
        .into_iter()
        .filter_map(|(yes, word)| yes.then_some(word))
        .collect();
        outln!(
            "{:<14} {:<10} {} ({})",
            channel.channel,
            channel.can.proof,
            channel.about,
            can.join(", ")
        );
    }
    Ok(Exit::Ok)
}

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a flag of the command line is a bool"
)]
pub struct VerifyArgs {
    /// Only this account.
    #[arg(long, value_name = "ACCOUNT")]
    account: Vec<AccountId>,
    /// The account that answers now is the right one, though it is another than before.
    #[arg(long, requires = "account")]
    accept: bool,
    /// Publish a message where the public cannot see, read it back and take it away; without an account, on those of
    /// `[verification] backstage_accounts`.
    #[arg(long, conflicts_with_all = ["accept", "history"])]
    backstage: bool,
    /// Ask nobody: show what was seen before, newest first.
    #[arg(long, requires = "account", conflicts_with = "accept")]
    history: bool,
    /// Print a JSON list.
    #[arg(long)]
    json: bool,
}

/// Shows what was seen of accounts.
async fn history(client: &Client, args: &VerifyArgs) -> Outcome {
    let mut all: Vec<Seen> = Vec::new();
    for account in &args.account {
        let path = format!("/api/v1/accounts/{account}/observations");
        all.extend(client.get::<Vec<Seen>>(&path).await?);
    }
    if args.json {
        super::print_json(&all)?;
        return Ok(Exit::Ok);
    }
    for one in &all {
        let observation = &one.observation;
        outln!(
            "{:<22} {:<8} {:<11} {} – {}",
            observation.subject,
            observation.look,
            super::go::word(Some(observation.reach)),
            one.since,
            one.at
        );
        for sign in &observation.signs {
            outln!("    {}", sign.text);
        }
    }
    Ok(Exit::Ok)
}

/// Runs `verify`. Ends with 3 if an account cannot be reached.
pub async fn verify(config: &Path, args: &VerifyArgs) -> Outcome {
    let client = Client::of(config)?;
    if args.history {
        return history(&client, args).await;
    }
    let results: Vec<Verification> = client
        .post_long(
            "/api/v1/verifications",
            &json!({ "accounts": args.account, "accept": args.accept, "backstage": args.backstage }),
        )
        .await?;
    if args.json {
        super::print_json(&results)?;
    } else {
        for result in &results {
            let untried = |sign: &Sign| sign.trouble == Trouble::TrialSkipped;
            let word = if result.signs.iter().any(untried) {
                "NOT TRIED"
            } else {
                super::go::word(Some(result.reach))
            };
            let until = result
                .expires_at
                .map(|at| format!(" · until {at}"))
                .unwrap_or_default();
            outln!(
                "{:<22} {:<14} {word:<11} {:>6} ms  {}{until}",
                result.account,
                result.channel,
                result.duration_ms,
                result.identity.as_deref().unwrap_or_default()
            );
            for sign in &result.signs {
                outln!("    {}", sign.text);
                outln!("    → {}", sign.remedy);
            }
        }
    }
    // Backstage an account that answers and does not let us publish is what is looked for.
    let well = |r: &Verification| r.reachable && (!args.backstage || r.signs.is_empty());
    Ok(if results.iter().all(well) {
        Exit::Ok
    } else {
        Exit::Undelivered
    })
}
