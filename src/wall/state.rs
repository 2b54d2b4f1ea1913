//! What a running wall knows: its simulated accounts with their ledgers, the faults that are armed, the requests seen.
//! No lock is held across an await, nor while a hook of a test runs.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method, Response};
use url::Url;

use super::faults::{Faults, Strike};
use super::server::is_loopback;
use super::sftp::login::LogIn;
use super::sim::{Book, Call, Callback, Simulator};
use super::webdav::WebDav;
use super::{Fault, Guise, Posted, Seen, Simulated, folder, guise, registry};
use crate::channel::{Kind, SftpSite, WallSite};
use crate::clock::SharedClock;
use crate::model::{AccountId, Mode};

/// Most requests that are remembered.
const SEEN_CAP: usize = 100_000;

/// Longest wait for whoever a simulated service calls.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Most accounts that mail may open by naming them; beyond it goes to the sink's own account.
const MAIL_ACCOUNTS_CAP: usize = 1000;

type Hook = Arc<dyn Fn(&Seen) + Send + Sync>;
type AccountKey = (Mode, AccountId);

/// Shared by the servers and the [`super::Wall`].
pub(super) struct Shared {
    pub clock: SharedClock,
    pub http: SocketAddr,
    pub smtp: SocketAddr,
    sftp: SftpSite,
    pub folder: PathBuf,
    sites: Mutex<BTreeMap<AccountKey, Arc<Site>>>,
    faults: Mutex<BTreeMap<AccountKey, Faults>>,
    guises: Mutex<BTreeMap<AccountKey, Guise>>,
    seen: Mutex<Requests>,
    hooks: Mutex<Vec<Hook>>,
    login: Mutex<Option<(String, String)>>,
}

/// One simulated account.
pub(super) struct Site {
    pub mode: Mode,
    pub account: AccountId,
    pub kind: &'static Kind,
    pub name: String,
    pub base: Url,
    /// Where a `file` account's posts lie, and the pictures that a service fetches.
    pub folder: PathBuf,
    /// Who may into that folder over WebDAV and SFTP; only of `file` accounts.
    pub login: Option<LogIn>,
    inside: Mutex<Inside>,
}

struct Inside {
    simulator: Box<dyn Simulator>,
    book: Book,
}

#[derive(Default)]
struct Requests {
    first: u64,
    items: VecDeque<Seen>,
}

/// A request as it came, below its account's base.
pub(super) struct Request<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// Where a request stands among those seen, to note later what was answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket(u64);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic in a simulator must not make the whole wall mute: its ledger is still the truth.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The account that the SMTP sink books what names no other.
pub(super) fn sink_account() -> AccountId {
    #[allow(clippy::expect_used, reason = "a constant that the id rule allows")]
    "smtp".parse().expect("smtp is a valid id")
}

impl Shared {
    pub fn new(
        clock: SharedClock,
        http: SocketAddr,
        smtp: SocketAddr,
        files: SftpSite,
        folder: PathBuf,
    ) -> Self {
        Self {
            clock,
            http,
            smtp,
            sftp: files,
            folder,
            sites: Mutex::default(),
            faults: Mutex::default(),
            guises: Mutex::default(),
            seen: Mutex::default(),
            hooks: Mutex::default(),
            login: Mutex::default(),
        }
    }

    /// The account, opened if it is not.
    pub fn open(&self, mode: Mode, account: &AccountId, kind: &'static Kind, name: &str) -> Arc<Site> {
        let mut sites = lock(&self.sites);
        let site = sites
            .entry((mode, account.clone()))
            .or_insert_with(|| Arc::new(self.site(mode, account, kind, name)));
        Arc::clone(site)
    }

    fn site(&self, mode: Mode, account: &AccountId, kind: &'static Kind, name: &str) -> Site {
        let folder = self.folder.join(mode.as_str()).join(account.as_str());
        let wanted = match kind.id {
            "file" => Some(folder.clone()),
            "instagram" | "threads" => Some(folder.join(crate::channel::public_folder::PRACTICE)),
            _ => None,
        };
        if let Some(wanted) = wanted
            && let Err(error) = std::fs::create_dir_all(wanted)
        {
            tracing::error!(account.id = %account, %error, "the wall cannot make the folder of an account");
        }
        let login = (kind.id == "file").then(LogIn::fresh);
        let simulator = match &login {
            Some(login) => Box::new(WebDav::new(folder.clone(), login.clone())),
            None => registry::simulator(kind.id, account, name),
        };
        #[allow(
            clippy::expect_used,
            reason = "ids and modes hold nothing that a path has to escape"
        )]
        let base = Url::parse(&format!("http://{}/{mode}/{account}", self.http)).expect("a valid address");
        Site {
            mode,
            account: account.clone(),
            kind,
            name: name.to_owned(),
            base,
            folder,
            login,
            inside: Mutex::new(Inside {
                simulator,
                book: Book::default(),
            }),
        }
    }

    pub fn find(&self, mode: Mode, account: &str) -> Option<Arc<Site>> {
        let account = account.parse().ok()?;
        lock(&self.sites).get(&(mode, account)).cloned()
    }

    /// Every account, by mode and id.
    pub fn sites(&self) -> Vec<Arc<Site>> {
        lock(&self.sites).values().cloned().collect()
    }

    /// The account that a mail belongs to; opened if there is room, else the sink's own.
    pub fn mail_site(&self, mode: Mode, account: &AccountId) -> Arc<Site> {
        let known = lock(&self.sites).get(&(mode, account.clone())).cloned();
        match known {
            Some(site) => site,
            None if lock(&self.sites).len() < MAIL_ACCOUNTS_CAP => {
                self.open(mode, account, &crate::channel::email::KIND, account.as_str())
            }
            None => self.open(
                Mode::Live,
                &sink_account(),
                &crate::channel::email::KIND,
                "E-post utan konto",
            ),
        }
    }

    pub fn fault(&self, mode: Mode, account: &AccountId, fault: Fault) {
        lock(&self.faults)
            .entry((mode, account.clone()))
            .or_default()
            .add(fault);
    }

    pub fn heal(&self, mode: Mode, account: &AccountId) {
        lock(&self.faults).remove(&(mode, account.clone()));
    }

    pub fn dress(&self, mode: Mode, account: &AccountId, guise: Guise) {
        lock(&self.guises).insert((mode, account.clone()), guise);
    }

    /// The `file` account whose folder this user may into.
    pub fn folder_of(&self, user: &str) -> Option<Arc<Site>> {
        let sites = lock(&self.sites);
        let mut all = sites.values();
        let is_theirs = |site: &&Arc<Site>| site.login.as_ref().is_some_and(|login| login.username == user);
        all.find(is_theirs).cloned()
    }

    /// Whether an account's credential is taken no longer.
    pub fn is_dead(&self, site: &Site) -> bool {
        self.worn(site).dead(self.clock.now()).is_some()
    }

    fn worn(&self, site: &Site) -> Guise {
        let key = (site.mode, site.account.clone());
        lock(&self.guises).get(&key).cloned().unwrap_or_default()
    }

    pub fn strike(&self, mode: Mode, account: &AccountId, method: &str, path: &str) -> Strike {
        lock(&self.faults)
            .get_mut(&(mode, account.clone()))
            .map(|faults| faults.strike(method, path))
            .unwrap_or_default()
    }

    /// Remembers a request that has been read, and tells the hooks before anything is done with it.
    pub fn saw(&self, seen: &Seen) -> Ticket {
        let ticket = {
            let mut requests = lock(&self.seen);
            if requests.items.len() == SEEN_CAP {
                requests.items.pop_front();
                requests.first += 1;
            }
            requests.items.push_back(seen.clone());
            Ticket(requests.first + requests.items.len() as u64 - 1)
        };
        let hooks = lock(&self.hooks).clone();
        for hook in hooks {
            hook(seen);
        }
        ticket
    }

    /// Notes what was answered.
    pub fn answered(&self, ticket: Ticket, status: u16) {
        let mut requests = lock(&self.seen);
        let place = ticket
            .0
            .checked_sub(requests.first)
            .and_then(|n| usize::try_from(n).ok());
        if let Some(seen) = place.and_then(|n| requests.items.get_mut(n)) {
            seen.status = status;
        }
    }

    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.seen).items.iter().cloned().collect()
    }

    pub fn hook(&self, hook: Hook) {
        lock(&self.hooks).push(hook);
    }

    pub fn login(&self) -> Option<(String, String)> {
        lock(&self.login).clone()
    }

    pub fn set_login(&self, user: &str, password: &str) {
        *lock(&self.login) = Some((user.to_owned(), password.to_owned()));
    }

    /// What every account accepted where the public does not see it, oldest first.
    pub fn backstage(&self) -> Vec<Posted> {
        let sites = self.sites();
        let of = |site: &Arc<Site>| lock(&site.inside).book.backstage.clone();
        let mut all: Vec<Posted> = sites.iter().flat_map(of).collect();
        all.sort_by_key(|posted| posted.at);
        all
    }

    /// What every account truly accepted, oldest first.
    pub fn ledger(&self) -> Vec<Posted> {
        let mut all: Vec<Posted> = self.sites().iter().flat_map(|site| site.posts(self)).collect();
        all.sort_by_key(|posted| posted.at);
        all
    }
}

impl Site {
    pub fn describe(&self, shared: &Shared) -> Simulated {
        Simulated {
            site: WallSite {
                base: self.base.clone(),
                smtp: shared.smtp,
                sftp: shared.sftp.clone(),
                folder: shared.folder.join(self.mode.as_str()),
            },
            secrets: lock(&self.inside).simulator.secrets(),
        }
    }

    /// Lets the simulated service do what the request asks.
    pub fn answer(&self, shared: &Shared, request: &Request<'_>) -> Response<Vec<u8>> {
        let query = url::form_urlencoded::parse(request.query.unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
        let worn = shared.worn(self);
        let mut inside = lock(&self.inside);
        let Inside { simulator, book } = &mut *inside;
        let before = (book.posts.len(), book.backstage.len());
        let call = Call {
            method: request.method,
            path: request.path,
            query,
            headers: request.headers,
            body: request.body,
            now: shared.clock.now(),
            base: self.base.as_str(),
            folder: &self.folder,
            guise: &worn,
            book,
        };
        let response = if call.path == guise::AVATAR {
            guise::avatar(&call)
        } else {
            simulator.answer(call)
        };
        // A simulator does not know in which mode its account was opened; the frame does.
        let fresh = book.posts.iter_mut().skip(before.0);
        for posted in fresh.chain(book.backstage.iter_mut().skip(before.1)) {
            posted.mode = self.mode;
            posted.account = self.account.clone();
        }
        let calls = std::mem::take(&mut book.calls);
        if !calls.is_empty() {
            tokio::spawn(call_back(calls));
        }
        response
    }

    /// Lets something happen at the service. Returns whether it knows of such a thing.
    pub fn command(&self, what: &str, now: crate::clock::Timestamp) -> bool {
        lock(&self.inside).simulator.command(what, now)
    }

    /// Books a mail; one to whoever tests are for went backstage.
    pub fn book(&self, mut posted: Posted, is_public: bool) {
        posted.mode = self.mode;
        posted.account = self.account.clone();
        let book = &mut lock(&self.inside).book;
        if is_public {
            book.posts.push(posted);
        } else {
            book.backstage.push(posted);
        }
    }

    /// What the account accepted, oldest first; deleted posts stay.
    pub fn posts(&self, shared: &Shared) -> Vec<Posted> {
        let mut inside = lock(&self.inside);
        if self.kind.id == "file" {
            folder::refresh(self, &mut inside.book, shared.clock.now());
        }
        inside.book.posts.clone()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("http", &self.http)
            .field("smtp", &self.smtp)
            .finish_non_exhaustive()
    }
}

/// Makes the calls in their order. One that fails is not repeated, and one to somewhere else than this machine is never
/// made: an exercise reaches nobody.
async fn call_back(calls: Vec<Callback>) {
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(CALL_TIMEOUT)
        .tls_certs_only(std::iter::empty::<reqwest::Certificate>())
        .build();
    let Ok(client) = client else {
        return;
    };
    for call in calls.into_iter().filter(|call| is_loopback(&call.url)) {
        let mut request = match call.body {
            Some(body) => client.post(call.url).body(body),
            None => client.get(call.url),
        };
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        if let Err(error) = request.send().await {
            tracing::debug!(error = %error.without_url(), "a simulated service could not report");
        }
    }
}
