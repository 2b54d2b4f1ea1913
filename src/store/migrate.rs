//! Brings a database to this version's shape: the embedded scripts in order, each once, each in one transaction, with
//! its checksum. A database that a newer version wrote, or whose scripts were changed, is refused.

use sha2::{Digest, Sha256};
use sqlx::AssertSqlSafe;

use super::StoreError;
use super::db::Conn;
use crate::clock::Timestamp;

/// Number, name, text. Only ever added to.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("../../migrations/0001_first.sql")),
    (
        2,
        "conditions",
        include_str!("../../migrations/0002_conditions.sql"),
    ),
    (3, "register", include_str!("../../migrations/0003_register.sql")),
    (4, "drills", include_str!("../../migrations/0004_drills.sql")),
    (5, "reports", include_str!("../../migrations/0005_reports.sql")),
    (6, "mails", include_str!("../../migrations/0006_mails.sql")),
    (
        7,
        "verification",
        include_str!("../../migrations/0007_verification.sql"),
    ),
];

const TABLE: &str = "CREATE TABLE IF NOT EXISTS migration (version BIGINT PRIMARY KEY, name TEXT NOT NULL, \
                     checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)";

/// Two nodes that start at once take turns. The number is ours alone.
const ONE_AT_A_TIME_PG: &str = "SELECT pg_advisory_xact_lock(7108231905)";

/// Applies what is missing.
pub(super) async fn run(conn: &mut Conn, now: Timestamp) -> Result<(), StoreError> {
    conn.begin().await?;
    match apply(conn, now).await {
        Ok(()) => Ok(conn.execute("COMMIT", vec![]).await.map(drop)?),
        Err(error) => {
            if let Err(rollback) = conn.execute("ROLLBACK", vec![]).await {
                tracing::debug!(error = %rollback, "could not roll back a migration; the connection is closed");
            }
            Err(error)
        }
    }
}

async fn apply(conn: &mut Conn, now: Timestamp) -> Result<(), StoreError> {
    if let Conn::Pg(_) = conn {
        conn.script(ONE_AT_A_TIME_PG).await?;
    }
    conn.script(TABLE).await?;
    let rows = conn
        .fetch(
            "SELECT version, name, checksum FROM migration ORDER BY version",
            vec![],
        )
        .await?;
    let applied = rows.len();
    for (at, row) in rows.iter().enumerate() {
        let (version, name) = (row.int(0)?, row.text(1)?);
        let Some((_, _, text)) = MIGRATIONS.get(at).filter(|(number, _, _)| *number == version) else {
            return Err(StoreError::Migration(format!(
                "it has migration {version} ({name}), which this version does not know; start the newer version again"
            )));
        };
        if row.text(2)? != checksum(text) {
            return Err(StoreError::Migration(format!(
                "migration {version} ({name}) is not the one that this version has"
            )));
        }
    }
    for (version, name, text) in MIGRATIONS.iter().skip(applied) {
        let spelled = spelled(conn, text);
        conn.script(AssertSqlSafe(spelled)).await?;
        conn.execute(
            "INSERT INTO migration (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)",
            vec![
                (*version).into(),
                (*name).into(),
                checksum(text).as_str().into(),
                now.into(),
            ],
        )
        .await?;
    }
    Ok(())
}

/// The script in the engine's own spelling. SQLite keeps a table under its row number, and a key of its own type is
/// that number; spelled otherwise each such key would be an index beside the table, to be written with every row.
fn spelled(conn: &Conn, text: &str) -> String {
    match conn {
        Conn::Lite(_) => text
            .replace("BIGINT PRIMARY KEY", "INTEGER PRIMARY KEY")
            .replace("/*sqlite ", "")
            .replace("*/", ""),
        Conn::Pg(_) => text.to_owned(),
    }
}

fn checksum(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}
