//! PostgreSQL for tests. `VARDKASE_TEST_POSTGRES` names a server to make databases on (`scripts/test` sets it); without
//! it, a private cluster is started by `scripts/test-postgres`. Where PostgreSQL is not installed, tests say so and skip.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// A server: somebody else's, or ours until the last test that uses it ends.
#[derive(Debug)]
struct Server {
    url: String,
    ours: Option<tempfile::TempDir>,
}

/// Shared by the tests of one process.
static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(dir) = &self.ours {
            script("stop", dir.path().join("pg")).output().ok();
        }
    }
}

fn script(action: &str, dir: PathBuf) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/test-postgres"));
    command.arg(action).arg(dir);
    command
}

fn server() -> Option<Arc<Server>> {
    let mut shared = SERVER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return Some(server);
    }
    let server = if let Ok(url) = std::env::var("VARDKASE_TEST_POSTGRES") {
        Server { url, ours: None }
    } else {
        let dir = tempfile::tempdir().unwrap();
        // Another user runs the server: it has to get through to its own directory.
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
        let started = script("start", dir.path().join("pg")).output().unwrap();
        let said = String::from_utf8_lossy(&started.stderr).into_owned();
        if started.status.code() == Some(69) {
            eprintln!("skipped: {said}");
            return None;
        }
        assert!(started.status.success(), "PostgreSQL did not start: {said}");
        let url = String::from_utf8(started.stdout).unwrap().trim().to_owned();
        Server { url, ours: Some(dir) }
    };
    let server = Arc::new(server);
    *shared = Arc::downgrade(&server);
    Some(server)
}

/// An empty database of one test.
#[derive(Debug)]
pub struct TestDatabase {
    server: Arc<Server>,
    name: String,
}

impl TestDatabase {
    /// `None`, with the reason on standard error, where there is no PostgreSQL.
    pub async fn create() -> Option<Self> {
        let server = tokio::task::spawn_blocking(server).await.unwrap()?;
        let database = Self {
            server,
            name: format!("t_{}", uuid::Uuid::new_v4().simple()),
        };
        database.admin(format!("CREATE DATABASE {}", database.name)).await;
        Some(database)
    }

    /// Its address.
    pub fn url(&self) -> String {
        let (server, _) = self.server.url.rsplit_once('/').unwrap();
        format!("{server}/{}", self.name)
    }

    /// Another database with the same content, as a restored dump would be. Nobody may be connected to this one.
    pub async fn copy(&self) -> Self {
        let name = format!("t_{}", uuid::Uuid::new_v4().simple());
        self.admin(format!("CREATE DATABASE {name} TEMPLATE {}", self.name))
            .await;
        Self {
            server: Arc::clone(&self.server),
            name,
        }
    }

    /// Ends every connection to it, as a restart of the server would.
    pub async fn cut_connections(&self) {
        self.admin(format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
            self.name
        ))
        .await;
    }

    /// Removes it. A test that fails leaves it behind, to be looked at.
    pub async fn drop_it(self) {
        self.admin(format!("DROP DATABASE {} WITH (FORCE)", self.name))
            .await;
    }

    async fn admin(&self, sql: String) {
        let mut conn = PgConnection::connect(&self.server.url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut conn)
            .await
            .unwrap();
        conn.close().await.unwrap();
    }
}
