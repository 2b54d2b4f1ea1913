//! Bluesky against the personal data server of its makers, `@atproto/pds` from npm: `scripts/test` puts it into
//! `target/pds`. Where it is not, the test says so and proves nothing.
//!
//! Accounts are entered in a directory (PLC); a few lines stand in for it, which take the entry and give it back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use vardkase::model::{Picture, Post, Settled};

use crate::real::{account, free_port, installed, question};
use crate::social::{LINK, TEXT, post, reply};

/// Ample for a start on a busy machine.
const START: Duration = Duration::from_secs(90);
/// Its own start listens to the whole network; this one does not.
const LAUNCHER: &str = "import net from 'node:net';\
    const listen = net.Server.prototype.listen;\
    net.Server.prototype.listen = function (port, ...more) {\
      return typeof port === 'number' ? listen.call(this, port, '127.0.0.1', ...more.filter((x) => typeof x === 'function'))\
        : listen.call(this, port, ...more) };\
    const { PDS, envToCfg, envToSecrets, readEnv } = await import('@atproto/pds');\
    const env = readEnv();\
    const pds = await PDS.create(envToCfg(env), envToSecrets(env));\
    await pds.start();";

/// The smallest whole PNG: one pixel.
const PIXEL: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\0\x05\0\x01\xff\x89\x99=\x1d\0\0\0\0IEND\xaeB`\x82";

/// A directory of identities: what is entered is given back as a document.
async fn directory() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let entries: Arc<Mutex<BTreeMap<String, Value>>> = Arc::default();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(enter(stream, Arc::clone(&entries)));
        }
    });
    address
}

async fn enter(mut stream: TcpStream, entries: Arc<Mutex<BTreeMap<String, Value>>>) -> Option<()> {
    let mut raw = Vec::new();
    let (head, body) = loop {
        let text = String::from_utf8_lossy(&raw).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.parse::<usize>().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                break (head.to_owned(), body.to_owned());
            }
        }
        if stream.read_buf(&mut raw).await.ok()? == 0 {
            return None;
        }
    };
    let mut words = head.split_whitespace();
    let (method, path) = (words.next()?, words.next()?);
    let did = path.trim_start_matches('/').replace("%3A", ":");
    let answer = if method == "POST" {
        entries
            .lock()
            .unwrap()
            .insert(did, serde_json::from_str(&body).ok()?);
        Some(json!({}))
    } else {
        let entries = entries.lock().unwrap();
        entries
            .get(did.trim_end_matches("/data"))
            .map(|entry| document(&did, entry))
    };
    let status = if answer.is_some() {
        "200 OK"
    } else {
        "404 Not Found"
    };
    let text = answer
        .unwrap_or(json!({"message": "DID not registered"}))
        .to_string();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    );
    stream.write_all(answer.as_bytes()).await.ok()
}

/// The document of an identity, as the directory makes it of its entry.
fn document(did: &str, entry: &Value) -> Value {
    let key = entry["verificationMethods"]["atproto"]
        .as_str()
        .unwrap_or_default();
    json!({
        "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
        "id": did,
        "alsoKnownAs": entry["alsoKnownAs"],
        "verificationMethod": [{
            "id": format!("{did}#atproto"), "type": "Multikey", "controller": did,
            "publicKeyMultibase": key.trim_start_matches("did:key:"),
        }],
        "service": [{
            "id": "#atproto_pds", "type": "AtprotoPersonalDataServer",
            "serviceEndpoint": entry["services"]["atproto_pds"]["endpoint"],
        }],
    })
}

/// The server with one account; stopped when the test ends.
struct Pds {
    base: String,
    did: String,
    app_password: String,
    _process: tokio::process::Child,
    _data: tempfile::TempDir,
}

impl Pds {
    async fn start(folder: &Path) -> Self {
        let directory = directory().await;
        let data = tempfile::tempdir().unwrap();
        let here = data.path().to_str().unwrap().to_owned();
        std::fs::create_dir(data.path().join("blobs")).unwrap();
        let launcher = folder.join("start.mjs");
        std::fs::write(&launcher, LAUNCHER).unwrap();
        let port = free_port();
        let log = std::fs::File::create(data.path().join("log")).unwrap();
        let process = tokio::process::Command::new("node")
            .arg(&launcher)
            .current_dir(folder)
            .envs([
                ("PDS_HOSTNAME", "localhost"),
                ("PDS_PORT", &port.to_string()),
                ("PDS_DEV_MODE", "true"),
                ("PDS_INVITE_REQUIRED", "false"),
                ("PDS_JWT_SECRET", "prov-prov-prov-prov-prov-prov-prov"),
                ("PDS_ADMIN_PASSWORD", "prov"),
                ("PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX", &"1".repeat(64)),
                ("PDS_DATA_DIRECTORY", &here),
                ("PDS_BLOBSTORE_DISK_LOCATION", &format!("{here}/blobs")),
                ("PDS_DID_PLC_URL", &format!("http://{directory}")),
                ("LOG_ENABLED", "false"),
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut pds = Self {
            base: format!("http://localhost:{port}"),
            did: String::new(),
            app_password: String::new(),
            _process: process,
            _data: data,
        };
        let begun = Instant::now();
        while pds.get("_health", &[]).await.is_none() {
            let log = std::fs::read_to_string(format!("{here}/log"));
            assert!(begun.elapsed() < START, "the server did not start: {log:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let wanted = json!({ "email": "kris@nassjo.se", "handle": "nassjo.test", "password": "prov-prov" });
        let made = pds.post("com.atproto.server.createAccount", None, &wanted).await;
        pds.did = made["did"]
            .as_str()
            .unwrap_or_else(|| panic!("{made}"))
            .to_owned();
        let token = made["accessJwt"].as_str().unwrap();
        let wanted = json!({ "name": "vardkase" });
        let made = pds
            .post("com.atproto.server.createAppPassword", Some(token), &wanted)
            .await;
        made["password"]
            .as_str()
            .unwrap()
            .clone_into(&mut pds.app_password);
        pds
    }

    async fn get(&self, what: &str, query: &[(&str, &str)]) -> Option<Value> {
        let mut url: reqwest::Url = format!("{}/xrpc/{what}", self.base).parse().unwrap();
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let client = reqwest::Client::builder().build().unwrap();
        client.get(url).send().await.ok()?.json().await.ok()
    }

    async fn post(&self, what: &str, token: Option<&str>, body: &Value) -> Value {
        let client = reqwest::Client::builder().build().unwrap();
        let mut request = client.post(format!("{}/xrpc/{what}", self.base)).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().await.unwrap().json().await.unwrap()
    }

    /// The posts that stand in the account's repository, as anybody can read them, oldest first.
    async fn posts(&self) -> Vec<Value> {
        let query = [
            ("repo", self.did.as_str()),
            ("collection", "app.bsky.feed.post"),
            ("limit", "100"),
        ];
        let page = self.get("com.atproto.repo.listRecords", &query).await.unwrap();
        let mut posts = page["records"]
            .as_array()
            .unwrap_or_else(|| panic!("{page}"))
            .clone();
        posts.sort_by_key(|post| post["value"]["createdAt"].as_str().unwrap_or_default().to_owned());
        posts
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_makers_own_server_takes_posts_pictures_threads_and_changes() {
    let Some(folder) = installed("pds", "node_modules/@atproto/pds/package.json") else {
        return;
    };
    let pds = Pds::start(&folder).await;
    let keys = format!(
        "service = \"{}\"\nidentifier = \"nassjo.test\"\nlong = \"thread\"",
        pds.base
    );
    let channel = account("bluesky", &keys, &[("app_password", &pds.app_password)]);
    assert_eq!(channel.verify().await.unwrap().name, "nassjo.test");
    assert!(pds.posts().await.is_empty(), "verifying publishes nothing");

    // Once, whatever is repeated, and found by its own key.
    let first = post(TEXT);
    assert_eq!(channel.settle(&question(&first)).await.unwrap(), Settled::Absent);
    let one = channel.publish(&first).await.unwrap();
    assert_eq!(channel.publish(&first).await.unwrap(), one);
    let settled = channel.settle(&question(&first)).await.unwrap();
    assert!(
        matches!(&settled, Settled::Found(found) if found.remote_id == one.remote_id),
        "{settled:?}"
    );
    let standing = pds.posts().await;
    assert_eq!(standing.len(), 1, "{standing:#?}");
    let record = &standing[0]["value"];
    assert_eq!(
        (standing[0]["uri"].as_str(), record["text"].as_str()),
        (Some(one.remote_id.as_str()), Some(TEXT))
    );
    let facet = &record["facets"][0];
    assert_eq!(facet["features"][0]["uri"], LINK);
    let (from, to) = (
        facet["index"]["byteStart"].as_u64().unwrap(),
        facet["index"]["byteEnd"].as_u64().unwrap(),
    );
    let marked = TEXT.get(usize::try_from(from).unwrap()..usize::try_from(to).unwrap());
    assert_eq!(marked, Some(LINK), "counted in bytes");

    // An answer with a picture and its words.
    let picture = Picture {
        bytes: PIXEL.to_vec(),
        media_type: "image/png",
        width: 1,
        height: 1,
        alt: "En punkt på kartan".to_owned(),
    };
    let second = Post {
        picture: Some(Arc::new(picture)),
        ..reply("ÖVNING: Mer besked. Nässjö kommun.", &one)
    };
    let two = channel.publish(&second).await.unwrap();
    assert_eq!(two.note, None, "with its picture");
    let standing = pds.posts().await;
    let record = &standing[1]["value"];
    assert_eq!(record["reply"]["root"]["uri"], one.remote_id.as_str());
    assert_eq!(record["embed"]["images"][0]["alt"], "En punkt på kartan");
    let size = record["embed"]["images"][0]["image"]["size"].as_u64();
    assert_eq!(size, u64::try_from(PIXEL.len()).ok());

    // A long text is a thread of its own.
    let long = crate::social::long_post();
    let three = channel.publish(&long).await.unwrap();
    let standing = pds.posts().await;
    assert!(standing.len() >= 5, "{standing:#?}");
    assert_eq!(channel.publish(&long).await.unwrap().remote_id, three.remote_id);
    assert_eq!(pds.posts().await.len(), standing.len(), "a repeat adds no part");
    let all = standing.len();
    channel.retract(&three).await.unwrap();
    assert_eq!(pds.posts().await.len(), 2, "all {} parts are gone", all - 2);

    // Changed, pinned, unpinned, taken away.
    let changed = channel
        .edit(&one, &post("ÖVNING: Rättelse. Nässjö kommun."))
        .await
        .unwrap();
    assert_eq!(changed.remote_id, one.remote_id);
    let standing = pds.posts().await;
    let texts: Vec<&str> = standing
        .iter()
        .map(|post| post["value"]["text"].as_str().unwrap())
        .collect();
    assert!(texts.contains(&"ÖVNING: Rättelse. Nässjö kommun."), "{texts:?}");
    let profile = [
        ("repo", pds.did.as_str()),
        ("collection", "app.bsky.actor.profile"),
        ("rkey", "self"),
    ];
    channel.pin(&changed).await.unwrap();
    let shown = pds.get("com.atproto.repo.getRecord", &profile).await.unwrap();
    assert_eq!(shown["value"]["pinnedPost"]["uri"], one.remote_id.as_str());
    channel.unpin(&changed).await.unwrap();
    let shown = pds.get("com.atproto.repo.getRecord", &profile).await.unwrap();
    assert!(shown["value"]["pinnedPost"].is_null(), "{shown}");
    for receipt in [&two, &changed, &changed] {
        channel.retract(receipt).await.unwrap();
    }
    assert!(pds.posts().await.is_empty());

    let stranger = account("bluesky", &keys, &[("app_password", "aaaa-bbbb-cccc-dddd")]);
    let error = stranger.publish(&post(TEXT)).await.unwrap_err();
    assert_eq!(error.as_str(), "credential", "{error}");
    println!(
        "@atproto/pds: posted once, settled, answered with a picture, threaded, changed, pinned, taken away"
    );
}
