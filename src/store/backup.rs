//! A consistent copy of a SQLite database while it is in use, marked so that it starts held.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteJournalMode;

use super::db::{Conn, Engine};
use super::{StoreError, file, restore, sql};
use crate::clock::Timestamp;

/// Copies the database of `engine` to `to`. What appears under that name is whole and flushed.
pub(super) async fn write(engine: &Engine, to: &Path, now: Timestamp) -> Result<(), StoreError> {
    let Engine::Lite(options) = engine else {
        return Err(StoreError::Engine(
            "the database is PostgreSQL: back it up with pg_dump, or with the backups of the server"
                .to_owned(),
        ));
    };
    let failed = |error: std::io::Error| StoreError::Engine(format!("{}: {error}", to.display()));
    if to.try_exists().map_err(failed)? {
        return Err(StoreError::Engine(format!("{} is there already", to.display())));
    }
    let part = file::beside(to, ".part");
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)
        .and_then(|file| file.sync_all())
        .map_err(|error| StoreError::Engine(format!("{}: {error}", part.display())))?;
    let copied = copy(options, &part, now).await;
    let done = match copied {
        Ok(()) => file::sync(&part)
            .and_then(|()| std::fs::rename(&part, to))
            .and_then(|()| file::sync(to))
            .map_err(failed),
        Err(error) => Err(error),
    };
    if done.is_err()
        && let Err(error) = std::fs::remove_file(&part)
    {
        tracing::debug!(%error, "could not remove an unfinished backup");
    }
    done
}

async fn copy(
    options: &sqlx::sqlite::SqliteConnectOptions,
    part: &Path,
    now: Timestamp,
) -> Result<(), StoreError> {
    let name = part
        .to_str()
        .ok_or_else(|| StoreError::Engine(format!("{} is not valid UTF-8", part.display())))?;
    // A connection of its own: neither the writer nor a reader waits for it.
    let mut from = Conn::Lite(options.clone().create_if_missing(false).connect().await?);
    let copied = from.execute("VACUUM INTO $1", vec![name.into()]).await;
    from.close().await;
    copied?;
    // Not in WAL mode, so that the copy is one file; it goes into that mode when it is opened as a database.
    let single = options
        .clone()
        .filename(part)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Delete);
    let mut copy = Conn::Lite(single.connect().await?);
    let marked = copy
        .execute(
            sql::META_SET,
            vec![restore::MARK.into(), now.to_string().as_str().into()],
        )
        .await;
    copy.close().await;
    Ok(marked.map(drop)?)
}
