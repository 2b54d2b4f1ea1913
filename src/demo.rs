//! A whole municipality on the practice wall: the shipped configuration with every address pointed at simulators, a
//! vault with their secrets, and the daemon on top. What runs is the daemon itself; only the addresses differ.

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use secrecy::SecretString;
use toml_edit::{ArrayOfTables, DocumentMut, Table, value};

use crate::clock::{SharedClock, Timestamp};
use crate::config::Config;
use crate::lock::{self, DataDir, LockError};
use crate::model::{AccountId, Mode};
use crate::serve::{Daemon, Options, start};
use crate::vault::Vault;
use crate::wall::{Simulated, Wall};

/// The configuration as shipped.
const SHIPPED: &str = include_str!("../config.toml");

/// A demonstration that is up.
#[derive(Debug)]
pub struct Demo {
    /// The wall.
    pub wall: Arc<Wall>,
    /// The configuration that was written: every other command works with it.
    pub config: PathBuf,
    /// The daemon.
    pub daemon: Daemon,
}

/// The first line of a configuration that a demonstration wrote, and may write again.
const MARK: &str = "# Written by `vardkase demo`, which writes it anew at its next start.\n";

/// Writes configuration and vault under `dir`, and starts wall and daemon. `options.stop` ends the daemon.
///
/// # Errors
/// If another one runs in `dir`, or its `config.toml` is somebody's own: then nothing there is touched.
pub async fn open(dir: &Path, clock: SharedClock, options: Options) -> anyhow::Result<Demo> {
    let dir = std::path::absolute(dir)?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .with_context(|| shown(&dir))?;
    let data_dir = hold(&dir, clock.now())?;
    let path = dir.join("config.toml");
    refuse_to_overwrite(&path)?;
    let any = "127.0.0.1:0".parse()?;
    let wall = Arc::new(Wall::start(any, any, &dir.join("wall"), Arc::clone(&clock)).await?);
    write(&path, SHIPPED)?;
    let shipped = Config::load(&path)?;
    let simulated: Vec<(AccountId, Simulated)> = shipped
        .accounts
        .values()
        .map(|account| {
            let name = &shipped.municipality.name;
            (
                account.id.clone(),
                wall.open_account(Mode::Live, &account.id, account.channel, name),
            )
        })
        .collect();
    write(&path, &pointed_at_wall(&shipped, &simulated, &wall, &dir)?)?;
    let config = Config::load(&path)?;
    let vault = match Vault::open(&config.vault, Arc::clone(&clock)) {
        Err(crate::vault::VaultError::NoVault(_)) => Vault::init(&config.vault, Arc::clone(&clock))?,
        opened => opened?,
    };
    for (account, simulated) in &simulated {
        let secrets: Vec<(String, SecretString)> = simulated
            .secrets
            .iter()
            .map(|(name, secret)| (name.clone(), secret.clone().into()))
            .collect();
        if !secrets.is_empty() {
            vault.set(account, &secrets)?;
        }
    }
    let options = Options {
        data_dir: Some(data_dir),
        wall: Some(Arc::clone(&wall)),
        ..options
    };
    let daemon = start(config, clock, options).await?;
    Ok(Demo {
        wall,
        config: path,
        daemon,
    })
}

/// Holds the data directory before anything is written: what is written would point a running demonstration elsewhere.
fn hold(dir: &Path, now: Timestamp) -> anyhow::Result<DataDir> {
    match lock::hold(&dir.join("data"), now, false) {
        Err(LockError::Held { holder, .. }) => bail!(
            "another demonstration runs in {}: {}. End it first (Ctrl-C there), or take another folder with --dir.",
            dir.display(),
            lock::named(holder.as_ref())
        ),
        held => Ok(held?),
    }
}

fn refuse_to_overwrite(path: &Path) -> anyhow::Result<()> {
    match std::fs::read_to_string(path) {
        Ok(text) if !text.starts_with(MARK) => bail!(
            "{} was not written by a demonstration and is left as it is. Take an empty folder with --dir.",
            path.display()
        ),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(|| shown(path)),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| shown(path))?;
    let mut whole = |text: &str| std::io::Write::write_all(&mut file, text.as_bytes());
    whole(MARK)
        .and_then(|()| whole(text))
        .with_context(|| shown(path))
}

/// The shipped text, comments and all, with other addresses.
fn pointed_at_wall(
    shipped: &Config,
    simulated: &[(AccountId, Simulated)],
    wall: &Wall,
    dir: &Path,
) -> anyhow::Result<String> {
    let mut document: DocumentMut = SHIPPED.parse()?;
    let data = dir.join("data");
    set(
        &mut document,
        "municipality",
        "site",
        format!("http://{}/site/", wall.address()),
    );
    set(&mut document, "daemon", "data_dir", shown(&data));
    if let Some(daemon) = document.get_mut("daemon").and_then(toml_edit::Item::as_table_mut) {
        // A second daemon may hold the shipped port; the demonstration needs none.
        daemon.remove("listen");
    }
    // The demonstration neither looks at the municipality's real page nor publishes a list that leads to nowhere, and nobody
    // is to attest anything of it.
    let mut reminders = Table::new();
    reminders.insert("send", value("off"));
    let mut register = Table::new();
    register.set_implicit(true);
    register.insert("reminders", toml_edit::Item::Table(reminders));
    document.insert("register", toml_edit::Item::Table(register));
    set(&mut document, "vault", "key_file", shown(&dir.join("vault.key")));
    for (id, simulated) in simulated {
        let Some(account) = shipped.accounts.get(id) else {
            continue;
        };
        for (key, address) in account.settings.at_wall(&simulated.site).addresses() {
            if let Some(table) = account_table(&mut document, id) {
                table.insert(key, value(address));
            }
        }
    }
    let relays = document
        .get_mut("relay")
        .and_then(toml_edit::Item::as_array_of_tables_mut);
    for relay in relays.into_iter().flat_map(ArrayOfTables::iter_mut) {
        relay.insert("host", value(wall.smtp().ip().to_string()));
        relay.insert("port", value(i64::from(wall.smtp().port())));
        relay.insert("tls", value("none"));
        relay.insert("login", value(false));
    }
    Ok(document.to_string())
}

fn set(document: &mut DocumentMut, table: &str, key: &str, text: String) {
    if let Some(table) = document.get_mut(table).and_then(toml_edit::Item::as_table_mut) {
        table.insert(key, value(text));
    }
}

fn account_table<'a>(document: &'a mut DocumentMut, id: &AccountId) -> Option<&'a mut Table> {
    document
        .get_mut("account")?
        .as_table_mut()?
        .get_mut(id.as_str())?
        .as_table_mut()
}
