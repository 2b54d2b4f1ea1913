//! The two engines behind one face: the same text, the same binds, the same rows. What differs between them is here
//! (opening, `BEGIN`, the lock on the chain's row) and nowhere else.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{
    Arguments, ConnectOptions, Connection, PgConnection, PgPool, Row as _, SqlSafeStr, SqliteConnection,
    SqlitePool,
};

use super::StoreError;
use super::file;
use super::sql::Placeholders;
use crate::clock::{Timestamp, from_micros};
use crate::config::Database;
use crate::model::Reason;

/// The oldest SQLite without the fault that can lose a WAL's reset.
const SQLITE_AT_LEAST: (u32, u32, u32) = (3, 51, 3);

/// Rows on their way from SQLite's thread.
const ROWS_AT_ONCE: usize = 1024;

/// Statements that a connection keeps prepared.
const STATEMENTS: usize = 512;

/// How long a connection waits for a lock, or for the pool.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the same body for whichever engine it is. `$inner` is the connection or pool; with values, `$args` is what they
/// are bound to, in the engine's own type.
macro_rules! either {
    ($on:expr, $inner:ident => $body:expr) => {
        match $on {
            Self::Lite($inner) => $body,
            Self::Pg($inner) => $body,
        }
    };
    ($on:expr, $inner:ident, $values:ident as $args:ident => $body:expr) => {
        match $on {
            Self::Lite($inner) => {
                let $args = bind::<SqliteArguments>($values)?;
                $body
            }
            Self::Pg($inner) => {
                let $args = bind::<PgArguments>($values)?;
                $body
            }
        }
    };
}

/// What is bound to a placeholder: typed, so that neither engine guesses.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Self {
        Self::Int(Some(value.as_microsecond()))
    }
}

impl From<Option<Timestamp>> for Value {
    fn from(value: Option<Timestamp>) -> Self {
        Self::Int(value.map(Timestamp::as_microsecond))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(clean(value)))
    }
}

impl From<Option<&str>> for Value {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(clean))
    }
}

/// Text that both engines take. PostgreSQL refuses NUL, and one refused row would fail everybody in its group.
pub(super) fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A row of either engine; columns by position.
#[derive(Debug)]
pub(super) enum Row {
    Lite(SqliteRow),
    Pg(PgRow),
}

impl From<SqliteRow> for Row {
    fn from(row: SqliteRow) -> Self {
        Self::Lite(row)
    }
}

impl From<PgRow> for Row {
    fn from(row: PgRow) -> Self {
        Self::Pg(row)
    }
}

impl Row {
    pub(super) fn int(&self, at: usize) -> Result<i64, StoreError> {
        Ok(either!(self, row => row.try_get(at))?)
    }

    pub(super) fn int_or_null(&self, at: usize) -> Result<Option<i64>, StoreError> {
        Ok(either!(self, row => row.try_get(at))?)
    }

    pub(super) fn text(&self, at: usize) -> Result<String, StoreError> {
        Ok(either!(self, row => row.try_get(at))?)
    }

    pub(super) fn text_or_null(&self, at: usize) -> Result<Option<String>, StoreError> {
        Ok(either!(self, row => row.try_get(at))?)
    }

    pub(super) fn bytes(&self, at: usize) -> Result<Vec<u8>, StoreError> {
        Ok(either!(self, row => row.try_get(at))?)
    }

    pub(super) fn time(&self, at: usize) -> Result<Timestamp, StoreError> {
        Ok(from_micros(self.int(at)?))
    }

    pub(super) fn time_or_null(&self, at: usize) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.int_or_null(at)?.map(from_micros))
    }

    /// A word or id of ours. One that does not parse is a damaged or foreign row.
    pub(super) fn word<T: FromStr<Err: fmt::Display>>(&self, at: usize) -> Result<T, StoreError> {
        parse(&self.text(at)?)
    }

    pub(super) fn word_or_null<T: FromStr<Err: fmt::Display>>(
        &self,
        at: usize,
    ) -> Result<Option<T>, StoreError> {
        self.text_or_null(at)?.map(|text| parse(&text)).transpose()
    }

    pub(super) fn json_or_null<T: serde::de::DeserializeOwned>(
        &self,
        at: usize,
    ) -> Result<Option<T>, StoreError> {
        self.text_or_null(at)?
            .map(|text| {
                serde_json::from_str(&text).map_err(|e| StoreError::Engine(format!("a damaged row: {e}")))
            })
            .transpose()
    }

    pub(super) fn reason(&self, at: usize) -> Result<Option<Reason>, StoreError> {
        self.json_or_null(at)
    }
}

fn parse<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, StoreError> {
    text.parse()
        .map_err(|e| StoreError::Engine(format!("a damaged row: {e}")))
}

/// A count or number that the store wrote and that cannot be negative.
pub(super) fn unsigned(value: i64) -> Result<u32, StoreError> {
    u32::try_from(value).map_err(|e| StoreError::Engine(format!("a damaged row: {e}")))
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::PoolClosed) {
            return Self::Closed;
        }
        Self::Engine(error.to_string())
    }
}

/// The one connection that writes.
#[derive(Debug)]
pub(super) enum Conn {
    Lite(SqliteConnection),
    Pg(PgConnection),
}

impl Conn {
    pub(super) async fn fetch(
        &mut self,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, sqlx::Error> {
        either!(self, conn, values as args => {
            let rows = sqlx::query_with(sql, args).fetch_all(conn).await?;
            Ok(rows.into_iter().map(Row::from).collect())
        })
    }

    /// Returns the number of rows that it touched.
    pub(super) async fn execute(
        &mut self,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<u64, sqlx::Error> {
        either!(self, conn, values as args => {
            Ok(sqlx::query_with(sql, args).execute(conn).await?.rows_affected())
        })
    }

    /// Runs a script of several statements.
    pub(super) async fn script(&mut self, sql: impl SqlSafeStr) -> Result<(), sqlx::Error> {
        either!(self, conn => sqlx::raw_sql(sql).execute(conn).await.map(drop))
    }

    /// Starts a transaction in which nobody else writes: SQLite's own lock, or the lock on the chain's row.
    pub(super) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        let begin = match self {
            Self::Lite(_) => "BEGIN IMMEDIATE",
            Self::Pg(_) => "BEGIN",
        };
        self.execute(begin, vec![]).await.map(drop)
    }

    pub(super) fn placeholders(&self) -> Placeholders {
        match self {
            Self::Lite(_) => Placeholders::Counted,
            Self::Pg(_) => Placeholders::Numbered,
        }
    }

    /// Starts a group's transaction and reads the end of the chain; on PostgreSQL, waits for other writers.
    pub(super) async fn begin_group(&mut self) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Lite(_) => self.fetch(super::sql::BEGIN_LITE, vec![]).await,
            Self::Pg(_) => {
                self.begin().await?;
                self.fetch(super::sql::CHAIN_LOCK_PG, vec![]).await
            }
        }
    }

    /// Commits a group. `end` is the new end of the chain, if it has moved.
    pub(super) async fn commit_group(&mut self, end: Option<(i64, String)>) -> Result<(), sqlx::Error> {
        let Some((seq, hash)) = end else {
            return self.execute("COMMIT", vec![]).await.map(drop);
        };
        let values = vec![seq.into(), Value::Text(Some(hash))];
        match self {
            Self::Lite(_) => self.execute(super::sql::COMMIT_LITE, values).await.map(drop),
            Self::Pg(_) => {
                self.execute(super::sql::CHAIN_MOVE, values).await?;
                self.execute("COMMIT", vec![]).await.map(drop)
            }
        }
    }

    pub(super) async fn close(self) {
        let closed = either!(self, conn => conn.close().await);
        if let Err(error) = closed {
            tracing::debug!(%error, "a database connection did not close in good order");
        }
    }
}

fn bind<A: Arguments>(values: Vec<Value>) -> Result<A, sqlx::Error>
where
    Option<i64>: for<'q> sqlx::Encode<'q, A::Database> + sqlx::Type<A::Database>,
    Option<String>: for<'q> sqlx::Encode<'q, A::Database> + sqlx::Type<A::Database>,
    Option<Vec<u8>>: for<'q> sqlx::Encode<'q, A::Database> + sqlx::Type<A::Database>,
{
    let mut args = A::default();
    args.reserve(values.len(), 0);
    for value in values {
        match value {
            Value::Int(value) => args.add(value),
            Value::Text(value) => args.add(value),
            Value::Bytes(value) => args.add(value),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(args)
}

/// The connections that only read.
#[derive(Debug, Clone)]
pub(super) enum Readers {
    Lite(SqlitePool),
    Pg(PgPool),
}

impl Readers {
    pub(super) async fn fetch(
        &self,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        either!(self, pool, values as args => {
            let rows = sqlx::query_with(sql, args).fetch_all(pool).await?;
            Ok(rows.into_iter().map(Row::from).collect())
        })
    }

    pub(super) fn placeholders(&self) -> Placeholders {
        match self {
            Self::Lite(_) => Placeholders::Counted,
            Self::Pg(_) => Placeholders::Numbered,
        }
    }

    pub(super) async fn close(&self) {
        either!(self, pool => pool.close().await);
    }
}

/// How to reach the database; kept to reconnect.
#[derive(Debug, Clone)]
pub(super) enum Engine {
    Lite(SqliteConnectOptions),
    Pg(PgConnectOptions),
}

impl Engine {
    /// Checks what can be checked before connecting.
    pub(super) fn of(database: &Database) -> Result<Self, StoreError> {
        Ok(match database {
            Database::Sqlite(path) => {
                file::prepare(path)?;
                Self::Lite(sqlite(path))
            }
            Database::Postgres(url) => Self::Pg(
                // The driver's own error may repeat parts of the address, and the address may hold a password.
                PgConnectOptions::from_str(url.expose())
                    .map_err(|_| StoreError::Engine("the address is not a valid postgres:// URL".to_owned()))?
                    .application_name("vardkase")
                    .options([
                        ("statement_timeout", "60s"),
                        ("lock_timeout", "20s"),
                        // Bounds what a stopped node can block, and a transaction that was left open.
                        ("idle_in_transaction_session_timeout", "10s"),
                        ("client_min_messages", "error"),
                    ])
                    .disable_statement_logging(),
            ),
        })
    }

    pub(super) async fn connect(&self) -> Result<Conn, sqlx::Error> {
        Ok(match self {
            Self::Lite(options) => Conn::Lite(options.connect().await?),
            Self::Pg(options) => {
                let connecting = tokio::time::timeout(PATIENCE, options.connect()).await;
                Conn::Pg(connecting.map_err(|_| sqlx::Error::PoolTimedOut)??)
            }
        })
    }

    pub(super) async fn readers(&self) -> Result<Readers, sqlx::Error> {
        Ok(match self {
            Self::Lite(options) => Readers::Lite(
                PoolOptions::new()
                    .max_connections(4)
                    .acquire_timeout(PATIENCE)
                    .test_before_acquire(false)
                    .connect_with(
                        options
                            .clone()
                            .create_if_missing(false)
                            // Each has a cache of its own, and memory must not grow with the database.
                            .pragma("cache_size", "-2048")
                            .pragma("query_only", "ON"),
                    )
                    .await?,
            ),
            Self::Pg(options) => Readers::Pg(
                PoolOptions::new()
                    .max_connections(8)
                    .acquire_timeout(PATIENCE)
                    // A future dropped at `BEGIN` leaves the connection inside a transaction (transact-rs/sqlx#4385).
                    .after_release(|conn, _| {
                        Box::pin(async move { sqlx::raw_sql("ROLLBACK").execute(conn).await.map(|_| true) })
                    })
                    .connect_with(options.clone())
                    .await?,
            ),
        })
    }
}

fn sqlite(path: &Path) -> SqliteConnectOptions {
    // sqlx sets the busy timeout when it opens the file, before any pragma.
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .busy_timeout(PATIENCE)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .pragma("mmap_size", "0")
        // What a statement would have to undo: in memory, it is gone with the process either way.
        .pragma("temp_store", "MEMORY")
        .pragma("journal_size_limit", "67108864")
        // 16 MiB to write with: a fan-out to thousands touches more pages than the defaults (2 MB, 1,000 pages) hold, and would
        // spill and write back in the middle of it, each time with flushes of its own.
        .pragma("cache_size", "-16384")
        .pragma("wal_autocheckpoint", "4096")
        // A whole group's rows: with fewer, the thread that reads them and the task that takes them wait for each other.
        .row_buffer_size(ROWS_AT_ONCE)
        // Each multi-row statement is there in ten sizes.
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging()
}

/// Refuses an engine that does not keep what the store promises.
pub(super) async fn check(conn: &mut Conn) -> Result<(), StoreError> {
    match conn {
        Conn::Lite(_) => {
            let version = one_text(conn, "SELECT sqlite_version()").await?;
            let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
            let mut next = || parts.next().unwrap_or(0);
            if (next(), next(), next()) < SQLITE_AT_LEAST {
                return Err(StoreError::Engine(format!(
                    "SQLite {version} is too old: 3.51.3 or newer is needed"
                )));
            }
            let mode = one_text(conn, "PRAGMA journal_mode").await?;
            if mode != "wal" {
                return Err(StoreError::Engine(format!(
                    "the file system does not carry a write-ahead log (journal mode {mode}); use a local disk"
                )));
            }
        }
        Conn::Pg(_) => {
            for (ask, name, good) in [
                (
                    "SHOW synchronous_commit",
                    "synchronous_commit",
                    &["on", "remote_apply"][..],
                ),
                ("SHOW fsync", "fsync", &["on"][..]),
            ] {
                let found = one_text(conn, ask).await?;
                if !good.contains(&found.as_str()) {
                    return Err(StoreError::Engine(format!(
                        "PostgreSQL runs with {name} = {found}: what it confirms can be lost. Set {name} = on"
                    )));
                }
            }
        }
    }
    Ok(())
}

async fn one_text(conn: &mut Conn, sql: &'static str) -> Result<String, StoreError> {
    match conn.fetch(sql, vec![]).await?.first() {
        Some(row) => row.text(0),
        None => Err(StoreError::Engine(format!("{sql} gave no answer"))),
    }
}

/// What the database is known by: the data directory's id on SQLite, cluster and database on PostgreSQL (several data
/// directories may share one; a dump restored elsewhere is another).
pub(super) async fn identity(conn: &mut Conn, node: &str) -> Result<String, StoreError> {
    match conn {
        Conn::Lite(_) => Ok(node.to_owned()),
        Conn::Pg(_) => one_text(conn, super::sql::PG_IDENTITY).await,
    }
}
