//! The Matrix adapter against Synapse itself, where it is installed: `scripts/test` puts it into `target/synapse`. Where
//! it is not, the test says so and proves nothing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use vardkase::channel::secrets::InMemory;
use vardkase::channel::{self, Channel, Parts, Transport};
use vardkase::clock::{Clock, SystemClock};
use vardkase::config::section::Section;
use vardkase::config::source::Source;
use vardkase::model::{Picture, Post, Question, Settled};

use crate::social::{TEXT, post, reply};

/// Ample for a start on a busy machine.
const START: Duration = Duration::from_secs(90);

/// The smallest whole PNG: one pixel.
const PIXEL: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05\0\x01\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82";

fn python() -> Option<PathBuf> {
    let named = std::env::var_os("VARDKASE_TEST_SYNAPSE").map(PathBuf::from);
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/synapse/bin/python");
    named.or(Some(ours)).filter(|python| {
        let has = std::process::Command::new(python)
            .args(["-c", "import synapse"])
            .output();
        has.is_ok_and(|output| output.status.success())
    })
}

/// A server of its own, with one account in one room.
struct Synapse {
    address: SocketAddr,
    token: String,
    room: String,
    _process: tokio::process::Child,
    folder: tempfile::TempDir,
}

impl Synapse {
    async fn start(python: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = {
            let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
            free.local_addr().unwrap()
        };
        let here = folder.path().display();
        let port = address.port();
        let config = format!(
            "server_name: prov.example\npid_file: {here}/pid\nreport_stats: false\n\
             listeners:\n  - {{port: {port}, type: http, tls: false, bind_addresses: ['127.0.0.1'], resources: [{{names: [client]}}]}}\n\
             database: {{name: sqlite3, args: {{database: {here}/homeserver.db}}}}\n\
             media_store_path: {here}/media\nsigning_key_path: {here}/signing.key\n\
             macaroon_secret_key: prov\nform_secret: prov\ntrusted_key_servers: []\n\
             enable_registration: true\nenable_registration_without_verification: true\n",
        );
        let file = folder.path().join("homeserver.yaml");
        std::fs::write(&file, config).unwrap();
        let command = || {
            let mut command = tokio::process::Command::new(python);
            let module = ["-m", "synapse.app.homeserver", "--config-path"];
            command
                .args(module)
                .arg(&file)
                .current_dir(folder.path())
                .kill_on_drop(true);
            command.stdin(std::process::Stdio::null());
            command
        };
        let made = command().arg("--generate-keys").output().await.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = command()
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut synapse = Self {
            address,
            token: String::new(),
            room: String::new(),
            _process: process,
            folder,
        };
        let begun = Instant::now();
        while synapse
            .call("GET", "/_matrix/client/versions", None)
            .await
            .is_none()
        {
            if begun.elapsed() > START {
                let log = std::fs::read_to_string(synapse.folder.path().join("log"));
                panic!("Synapse did not start: {log:?}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let account = json!({ "username": "kris", "password": "prov-prov-prov", "device_id": "VARDKASE",
                              "auth": { "type": "m.login.dummy" } });
        let made = synapse
            .call("POST", "/_matrix/client/v3/register", Some(&account))
            .await
            .unwrap();
        made["access_token"]
            .as_str()
            .unwrap()
            .clone_into(&mut synapse.token);
        let room = json!({ "preset": "public_chat", "name": "Krisinformation" });
        let made = synapse
            .call("POST", "/_matrix/client/v3/createRoom", Some(&room))
            .await
            .unwrap();
        made["room_id"].as_str().unwrap().clone_into(&mut synapse.room);
        synapse
    }

    /// What the server says to its owner; `None` if it does not answer.
    async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Value> {
        let client = reqwest::Client::builder().build().unwrap();
        let url = format!("http://{}{path}", self.address);
        let mut request = client.request(method.parse().unwrap(), url);
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.ok()?.json().await.ok()
    }

    /// The messages that stand in the room, newest first.
    async fn messages(&self) -> Vec<Value> {
        let path = format!(
            "/_matrix/client/v3/rooms/{}/messages?dir=b&limit=100&filter=%7B%22types%22%3A%5B%22m.room.message%22%5D%7D",
            self.room
        );
        let page = self.call("GET", &path, None).await.unwrap();
        page["chunk"].as_array().unwrap().clone()
    }

    fn channel(&self, server: SocketAddr) -> Arc<dyn Channel> {
        let keys = format!("server = \"http://{server}\"\nroom = \"{}\"", self.room);
        let source = Source::new("config.toml", &keys);
        let table = source.parse();
        let mut section = Section::root(&source, &table);
        let settings = (channel::kind("matrix").unwrap().read)(&mut section).unwrap();
        section.finish();
        settings
            .open(Parts {
                account: "matrix".parse().unwrap(),
                secrets: Arc::new(InMemory::of([("access_token", self.token.as_str())])),
                http: Transport::new(Arc::new(SystemClock), Duration::from_secs(5)).unwrap(),
                relays: Arc::from([]),
                relay_secrets: Arc::new(InMemory::default()),
                sender: "Nässjö kommun".to_owned(),
                domain: "nassjo.se".to_owned(),
            })
            .unwrap()
    }
}

/// Stands between the adapter and the server, and cuts the next answer to a PUT when told to.
async fn between(server: SocketAddr) -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let armed = Arc::new(AtomicBool::new(false));
    let cut = Arc::clone(&armed);
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let upstream = TcpStream::connect(server).await.unwrap();
            tokio::spawn(pass(client, upstream, Arc::clone(&cut)));
        }
    });
    (address, armed)
}

async fn pass(client: TcpStream, server: TcpStream, armed: Arc<AtomicBool>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let put = Arc::new(AtomicBool::new(false));
    let saw_put = Arc::clone(&put);
    let forth = tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            saw_put.fetch_or(buffer.starts_with(b"PUT "), Ordering::SeqCst);
            if to_server.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 65_536];
    while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
        // The server has done it and says so; nobody hears it.
        if put.load(Ordering::SeqCst) && armed.swap(false, Ordering::SeqCst) {
            break;
        }
        if to_client.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    forth.abort();
}

fn question(post: &Post) -> Question {
    Question {
        waited: std::time::Duration::ZERO,
        astray: std::time::Duration::ZERO,
        post: post.clone(),
        until: SystemClock.now(),
        since: post.accepted_at,
        now: SystemClock.now(),
        taken: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_posts_once_whatever_becomes_of_its_answer() {
    let Some(python) = python() else {
        println!(
            "skipped: no Synapse in target/synapse (scripts/test installs it where PyPI can be reached)"
        );
        return;
    };
    let synapse = Synapse::start(&python).await;
    let (address, cut) = between(synapse.address).await;
    let channel = synapse.channel(address);
    let identity = channel.verify().await.unwrap();
    assert_eq!(identity.name, "@kris:prov.example");
    assert_eq!(identity.facts["device"], "VARDKASE");
    assert_eq!(identity.facts["may_pin"], "yes", "who made the room may");

    // Taken by the server, and its answer lost on the way.
    let message = post(TEXT);
    cut.store(true, Ordering::SeqCst);
    let lost = channel.publish(&message).await.unwrap_err();
    assert_eq!(lost.as_str(), "unknown", "{lost}");
    let standing = synapse.messages().await;
    assert_eq!(standing.len(), 1, "{standing:#?}");
    let event = standing[0]["event_id"].as_str().unwrap();
    let settled = channel.settle(&question(&message)).await.unwrap();
    assert!(
        matches!(&settled, Settled::Found(receipt) if receipt.remote_id == event),
        "{settled:?}"
    );
    let repeated = channel.publish(&message).await.unwrap();
    assert_eq!(
        repeated.remote_id, event,
        "the same transaction id gives the same message"
    );
    let standing = synapse.messages().await;
    assert_eq!(
        (standing.len(), standing[0]["content"]["body"].as_str()),
        (1, Some(TEXT))
    );
    assert_eq!(
        channel.settle(&question(&post(TEXT))).await.unwrap(),
        Settled::Absent
    );

    // An answer with a picture, changed, pinned, unpinned and taken away with all that belongs to it.
    let picture = Picture {
        bytes: PIXEL.to_vec(),
        media_type: "image/png",
        width: 1,
        height: 1,
        alt: "En punkt".to_owned(),
    };
    let second = Post {
        picture: Some(Arc::new(picture)),
        ..reply("ÖVNING: Mer besked. Nässjö kommun.", &repeated)
    };
    let receipt = channel.publish(&second).await.unwrap();
    assert_eq!(receipt.note, None);
    let standing = synapse.messages().await;
    assert_eq!(standing.len(), 3);
    assert_eq!(standing[1]["content"]["body"], "En punkt");
    let answered = &standing[0]["content"]["m.relates_to"]["m.in_reply_to"]["event_id"];
    assert_eq!(*answered, event);
    let receipt = channel
        .edit(&receipt, &post("ÖVNING: Rättelse. Nässjö kommun."))
        .await
        .unwrap();
    let pins = format!(
        "/_matrix/client/v3/rooms/{}/state/m.room.pinned_events",
        synapse.room
    );
    channel.pin(&receipt).await.unwrap();
    let pinned = synapse.call("GET", &pins, None).await.unwrap();
    assert_eq!(pinned["pinned"], json!([receipt.remote_id]));
    channel.unpin(&receipt).await.unwrap();
    let pinned = synapse.call("GET", &pins, None).await.unwrap();
    assert_eq!(pinned["pinned"], json!([]));
    channel.retract(&receipt).await.unwrap();
    channel.retract(&receipt).await.unwrap();
    let left: Vec<Value> = synapse.messages().await;
    let told = left.iter().filter(|event| event["content"]["body"].is_string());
    let told: Vec<&str> = told.map(|event| event["event_id"].as_str().unwrap()).collect();
    assert_eq!(told, [event], "{left:#?}");
    println!("Synapse: posted once, settled, answered, changed, pinned, taken away");
}
