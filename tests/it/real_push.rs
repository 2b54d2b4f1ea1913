//! Web Push against `web-push-testing` from npm, in which other people's code checks the signature and decrypts:
//! `scripts/test` puts it into `target/web-push-testing`. Where it is not, the test says so and proves nothing.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vardkase::model::{Post, Recipient};

use crate::real::{account, free_port, installed};
use crate::social::{LINK, TEXT, post};

/// Ample for a start on a busy machine.
const START: Duration = Duration::from_mins(1);
/// The site's key of RFC 8291, appendix A.
const PRIVATE_KEY: &str = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";
/// Its own launcher listens to the whole network; this one does not.
const LAUNCHER: &str = "const net = require('net'), listen = net.Server.prototype.listen;\
    net.Server.prototype.listen = function (port, done) { return listen.call(this, port, '127.0.0.1', done) };\
    const Server = require('web-push-testing/src/server.js');\
    const { PushApiModel } = require('web-push-testing/src/PushApiModel.js');\
    new Server(new PushApiModel(), Number(process.argv[1])).startServer();";

/// The service, stopped when the test ends.
struct Service {
    base: String,
    _process: tokio::process::Child,
}

impl Service {
    async fn start(folder: &Path) -> Self {
        let port = free_port();
        let process = tokio::process::Command::new("node")
            .args(["-e", LAUNCHER, &port.to_string()])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let service = Self {
            base: format!("http://127.0.0.1:{port}"),
            _process: process,
        };
        let begun = Instant::now();
        while service.ask("status", &json!({})).await.is_none() {
            assert!(begun.elapsed() < START, "web-push-testing did not start");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        service
    }

    /// Status and answer; `None` if it does not answer.
    async fn ask(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let client = reqwest::Client::builder().build().unwrap();
        let request = client.post(format!("{}/{path}", self.base)).json(body);
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.unwrap_or(Value::Null)))
    }

    /// A new browser that takes messages signed with this key only.
    async fn subscribe(&self, public_key: &str) -> Browser {
        let asked = json!({ "userVisibleOnly": "true", "applicationServerKey": public_key });
        let (status, answer) = self.ask("subscribe", &asked).await.unwrap();
        assert_eq!(status, 200, "{answer}");
        let data = &answer["data"];
        let subscription = json!({ "endpoint": data["endpoint"], "keys": data["keys"] });
        Browser {
            hash: data["clientHash"].as_str().unwrap().to_owned(),
            subscription: subscription.to_string(),
        }
    }

    /// What the browser decrypted.
    async fn shown(&self, browser: &Browser) -> Vec<Value> {
        let asked = json!({ "clientHash": browser.hash });
        let (_, answer) = self.ask("get-notifications", &asked).await.unwrap();
        let messages = answer["data"]["messages"].as_array().unwrap().iter();
        messages
            .map(|text| serde_json::from_str(text.as_str().unwrap()).unwrap())
            .collect()
    }
}

struct Browser {
    hash: String,
    subscription: String,
}

impl Browser {
    fn message(&self, text: &str) -> Post {
        Post {
            recipient: Some(Recipient::new(self.subscription.as_str())),
            ..post(text)
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_other_peoples_code_decrypts_is_what_was_to_be_said() {
    let Some(folder) = installed("web-push-testing", "node_modules/web-push-testing/src/server.js") else {
        return;
    };
    let service = Service::start(&folder).await;
    let keys = "list = \"p\"\nsubject = \"mailto:kris@nassjo.se\"\npush_services = [\"localhost\"]";
    let push = account("web-push", keys, &[("vapid_private_key", PRIVATE_KEY)]);
    let public_key = push.verify().await.unwrap().facts["public_key"].clone();
    let browser = service.subscribe(&public_key).await;
    push.publish(&browser.message(TEXT)).await.unwrap();
    let shown = service.shown(&browser).await;
    assert_eq!(shown.len(), 1);
    let said = shown[0].to_string();
    assert!(
        said.contains("ÖVNING: Koka vattnet") && said.contains(LINK),
        "{said}"
    );

    // Of every length up to the longest that fits, the padding is taken off again.
    for length in [1, 200, 1800] {
        push.publish(&browser.message(&"å".repeat(length))).await.unwrap();
    }
    assert_eq!(service.shown(&browser).await.len(), 4);

    // Signed with another key than the one that the browser was told of.
    let stranger = account(
        "web-push",
        keys,
        &[("vapid_private_key", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE")],
    );
    let error = stranger.publish(&browser.message(TEXT)).await.unwrap_err();
    assert!(matches!(error.as_str(), "refused" | "credential"), "{error}");
    assert_eq!(service.shown(&browser).await.len(), 4);

    // Ended by its owner.
    let (status, _) = service
        .ask(&format!("expire-subscription/{}", browser.hash), &json!({}))
        .await
        .unwrap();
    assert_eq!(status, 200);
    let error = push.publish(&browser.message(TEXT)).await.unwrap_err();
    assert_eq!(
        (error.as_str(), error.reason().code.as_str()),
        ("refused", "gone")
    );
    assert!(!error.to_string().contains(&browser.hash), "{error}");
    println!("web-push-testing: decrypted, signature checked, ended");
}
