use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::channel::secrets::InMemory;
use crate::channel::testing::{self, parts, post};
use crate::config::{Relay as Config, RelayTls};
use crate::model::Recipient;

/// What a sink does instead of taking the command.
#[derive(Clone)]
enum Act {
    Say(&'static str),
    /// Thinks so long first.
    After(Duration, &'static str),
    Hang,
    Close,
}

/// An SMTP server of a few lines: takes everything but what its script says.
struct Sink {
    relay: Config,
    said: Arc<Mutex<Vec<String>>>,
    letters: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl std::ops::Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sink {
    async fn start(script: &[(&'static str, Act)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Config {
            id: "relay-1".parse().unwrap(),
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
            tls: RelayTls::None,
            patience: Duration::from_secs(5),
            login: false,
        };
        let said = Arc::new(Mutex::new(Vec::new()));
        let letters = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let script: HashMap<_, _> = script.iter().cloned().collect();
        let (to_said, to_letters, count) = (said.clone(), letters.clone(), connections.clone());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(talk(stream, script.clone(), to_said.clone(), to_letters.clone()));
            }
        });
        Self {
            relay,
            said,
            letters,
            connections,
            task,
        }
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    fn letters(&self) -> Vec<String> {
        self.letters.lock().unwrap().clone()
    }
}

async fn talk(
    stream: TcpStream,
    script: HashMap<&'static str, Act>,
    said: Arc<Mutex<Vec<String>>>,
    letters: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut word = "GREETING".to_owned();
    let mut default = "220 sink";
    loop {
        let (text, last) = match script.get(word.as_str()) {
            Some(Act::Say(text)) => (*text, false),
            Some(Act::After(time, text)) => {
                tokio::time::sleep(*time).await;
                (*text, false)
            }
            Some(Act::Hang) => std::future::pending().await,
            Some(Act::Close) => return None,
            None => (default, word == "QUIT"),
        };
        stream.write_all(format!("{text}\r\n").as_bytes()).await.ok()?;
        if last {
            return None;
        }
        if word == "DATA" && text.starts_with("354") {
            let mut letter = String::new();
            while !letter.ends_with("\r\n.\r\n") {
                if stream.read_line(&mut letter).await.ok()? == 0 {
                    return None;
                }
            }
            letters.lock().unwrap().push(letter);
            (word, default) = ("DOT".to_owned(), "250 2.0.0 Ok: queued as 4Zabc");
            continue;
        }
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        said.lock().unwrap().push(line.trim_end().to_owned());
        word = line.split_whitespace().next()?.to_owned();
        default = match word.as_str() {
            "EHLO" => "250-sink\r\n250-auth plain login\r\n250 8bitmime",
            "DATA" => "354 go on",
            "AUTH" => "235 2.7.0 in",
            _ => "250 2.0.0 Ok",
        };
    }
}

fn letter(text: &str) -> Post {
    let mut post = post(text);
    post.recipient = Some(Recipient::new("kim@example.org"));
    post
}

fn mail(relays: &[&Config]) -> Arc<dyn Channel> {
    mail_with(relays, &[])
}

fn mail_with(relays: &[&Config], secrets: &[(&str, &str)]) -> Arc<dyn Channel> {
    let mut parts = parts([]);
    parts.relays = relays.iter().copied().cloned().collect();
    parts.relay_secrets = Arc::new(InMemory::of(secrets.iter().copied()));
    list().open(parts).unwrap()
}

fn list() -> MailingList {
    MailingList {
        relay: None,
        from: "kris@nassjo.se".to_owned(),
        list: "press".parse().unwrap(),
        backstage_to: None,
        unsubscribe: None,
    }
}

#[tokio::test]
async fn a_reader_leaves_the_list_with_one_click_by_a_link_of_their_own() {
    let sink = Sink::start(&[]).await;
    let with_key = |secrets: &[(&str, &str)]| {
        let mut parts = parts([]);
        parts.relays = [sink.relay.clone()].into();
        parts.secrets = Arc::new(InMemory::of(secrets.iter().copied()));
        let list = MailingList {
            unsubscribe: Some("https://nassjo.se/avanmal/{token}".to_owned()),
            ..list()
        };
        list.open(parts)
    };
    assert_eq!(with_key(&[]).unwrap_err().code, "no-credential");
    let mail = with_key(&[("unsubscribe_key", "hemlig")]).unwrap();
    let mut other = letter("x");
    other.recipient = Some(Recipient::new("alex@example.org"));
    for post in [letter("x"), other] {
        mail.publish(&post).await.unwrap();
    }
    let tokens: Vec<String> = sink
        .letters()
        .iter()
        .map(|letter| {
            let unfolded = letter.replace("\r\n ", "");
            assert!(
                unfolded.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click"),
                "{unfolded}"
            );
            let (_, after) = unfolded.split_once("https://nassjo.se/avanmal/").unwrap();
            after.split_once('>').unwrap().0.to_owned()
        })
        .collect();
    // HMAC-SHA256("hemlig", "press\nkim@example.org"), worked out with openssl.
    assert_eq!(
        tokens[0],
        "a2ltQGV4YW1wbGUub3Jn.zKl0sP7DmbD8rZJ3yBdl4DOQ0F7HTq9pLMoXgy2VctM"
    );
    assert_ne!(tokens[0], tokens[1]);
    assert!(!format!("{mail:?}").contains("hemlig"));
}

#[tokio::test]
async fn a_letter_names_its_sender_and_is_the_same_bytes_each_time() {
    let sink = Sink::start(&[]).await;
    let mail = mail(&[&sink.relay]);
    let mut post = letter("Koka vattnet.\nI tre minuter.\n\n.\nhttps://nassjo.se/kris");
    post.root = Some(Receipt::of("<1@nassjo.se>"));
    post.parent = Some(Receipt::of("<2@nassjo.se>"));
    let receipt = mail.publish(&post).await.unwrap();
    assert_eq!(receipt.remote_id, format!("<{}@nassjo.se>", post.key));
    assert_eq!(receipt.note.as_deref(), Some("queue id 4Zabc via relay-1"));
    mail.publish(&post).await.unwrap();
    let letters = sink.letters();
    assert_eq!(letters[0], letters[1]);
    assert_eq!(
        sink.connections.load(Ordering::SeqCst),
        1,
        "the connection is used again"
    );
    insta::assert_snapshot!(letters[0].replace('\r', ""));
    assert!(
        sink.said().contains(&"RCPT TO:<kim@example.org>".to_owned()),
        "{:?}",
        sink.said()
    );
}

#[tokio::test]
async fn a_line_break_in_a_header_never_leaves() {
    let sink = Sink::start(&[]).await;
    let mut post = letter("x");
    post.rendering.headline = "Hej\r\nBcc: alla@example.org".to_owned();
    let refused = mail(&[&sink.relay]).publish(&post).await.unwrap_err();
    assert!(
        matches!(&refused, SendError::Refused(r) if r.code == "header"),
        "{refused}"
    );
    let mut post = letter("x");
    post.root = Some(Receipt::of("<1@nassjo.se>\r\nBcc: <a@b>"));
    mail(&[&sink.relay]).publish(&post).await.unwrap();
    assert!(!sink.letters()[0].contains("Bcc"));
}

#[tokio::test]
async fn a_failure_before_the_final_dot_goes_to_the_next_relay_at_once() {
    for script in [
        ("GREETING", Act::Close),
        ("GREETING", Act::Say("421 4.3.2 later")),
        ("GREETING", Act::Say("554 5.7.1 not you")),
        ("EHLO", Act::Close),
        ("MAIL", Act::Say("451 4.3.0 disk")),
        ("MAIL", Act::Close),
        ("RCPT", Act::Close),
        ("RCPT", Act::Say("421 4.3.2 later")),
        ("DATA", Act::Close),
    ] {
        let word = script.0;
        let bad = Sink::start(&[script]).await;
        let good = Sink::start(&[]).await;
        let receipt = mail(&[&bad.relay, &good.relay]).publish(&letter("x")).await;
        let note = receipt.unwrap().note.unwrap();
        assert!(note.contains("via relay-1; relay-1: "), "{word}: {note}");
        assert_eq!((bad.letters().len(), good.letters().len()), (0, 1), "{word}");
        let alone = mail(&[&bad.relay]).publish(&letter("x")).await.unwrap_err();
        assert!(matches!(alone.as_str(), "not-sent" | "busy"), "{word}: {alone}");
    }
}

#[tokio::test]
async fn a_silent_relay_leaves_time_for_the_next_one() {
    let bad = Sink::start(&[("GREETING", Act::Hang)]).await;
    let good = Sink::start(&[]).await;
    let started = tokio::time::Instant::now();
    mail(&[&bad.relay, &good.relay])
        .publish(&letter("x"))
        .await
        .unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(good.letters().len(), 1);
}

#[tokio::test]
async fn a_cut_after_the_final_dot_is_unknown_and_no_other_relay_is_tried() {
    for act in [Act::Close, Act::Say("nonsense")] {
        let bad = Sink::start(&[("DOT", act)]).await;
        let good = Sink::start(&[]).await;
        let lost = mail(&[&bad.relay, &good.relay])
            .publish(&letter("x"))
            .await
            .unwrap_err();
        assert_eq!(lost.as_str(), "unknown", "{lost}");
        assert_eq!((bad.letters().len(), good.letters().len()), (1, 0));
    }
    let settled = confirmation(&parts([]), "kris@nassjo.se")
        .settle(&testing::question(letter("x")))
        .await;
    assert!(matches!(settled.unwrap(), Settled::Unclear(_)));
}

#[tokio::test]
async fn a_refused_recipient_costs_no_connection_and_stops_no_other() {
    let sink = Sink::start(&[(
        "RCPT",
        Act::Say("550-5.1.1 <kim@example.org>:\r\n550 5.1.1 unknown"),
    )])
    .await;
    let mail = mail(&[&sink.relay]);
    for _ in 0..3 {
        let refused = mail.publish(&letter("x")).await.unwrap_err();
        assert!(
            matches!(&refused, SendError::Refused(r) if r.code == "smtp-550-5.1.1"),
            "{refused}"
        );
        assert!(
            !refused.to_string().contains("kim@"),
            "relays repeat the address: {refused}"
        );
    }
    assert_eq!(sink.connections.load(Ordering::SeqCst), 1);
    let sink = Sink::start(&[("DOT", Act::Say("554 5.6.0 content"))]).await;
    let refused = mail_with(&[&sink.relay], &[])
        .publish(&letter("x"))
        .await
        .unwrap_err();
    assert_eq!(refused.as_str(), "refused");
}

#[tokio::test]
async fn every_reply_of_the_reference_means_on_the_wire_what_it_means_in_the_table() {
    for &(code, text, word, _) in reply::tests::REPLIES {
        for stage in ["RCPT", "DOT"] {
            let said: &'static str = format!("{code} {text}").leak();
            let sink = Sink::start(&[(stage, Act::Say(said))]).await;
            let mail = mail(&[&sink.relay]);
            let outcome = mail.publish(&letter("x")).await.unwrap_err();
            assert_eq!(outcome.as_str(), word, "{stage} {said}: {outcome}");
            assert!(
                outcome.reason().code.starts_with(&format!("smtp-{code}")),
                "{stage} {said}: {outcome}"
            );
            assert_eq!(
                sink.letters().len(),
                usize::from(stage == "DOT"),
                "{stage} {said}"
            );
        }
    }
}

#[tokio::test]
async fn the_last_relay_has_all_the_time_that_its_patience_gives_it_and_no_other_has() {
    const THINKS: Duration = Duration::from_secs(6);
    let slowly = |word: &'static str, said: &'static str| [(word, Act::After(THINKS, said))];
    // Each in its own task: they think at the same time.
    let alone = [
        ("GREETING", "220 slow", None),
        ("EHLO", "250 slow", None),
        ("RCPT", "550 5.1.1 unknown", Some("smtp-550-5.1.1")),
        ("DATA", "354 go on", None),
        ("DOT", "250 2.0.0 Ok: queued as 4Zabc", None),
    ]
    .map(|(word, said, refused)| async move {
        let mut sink = Sink::start(&slowly(word, said)).await;
        sink.relay.patience = THINKS * 3;
        match (mail(&[&sink.relay]).publish(&letter("x")).await, refused) {
            (Ok(_), None) => {}
            (Err(SendError::Refused(reason)), Some(code)) => assert_eq!(reason.code, code, "{word}"),
            (other, _) => panic!("{word}: {other:?}"),
        }
    });
    futures::future::join_all(alone).await;

    let mut first = Sink::start(&slowly("RCPT", "250 at last")).await;
    first.relay.patience = THINKS * 3;
    let second = Sink::start(&[]).await;
    let receipt = mail(&[&first.relay, &second.relay])
        .publish(&letter("x"))
        .await
        .unwrap();
    assert!(receipt.note.unwrap().contains("no answer within 5 s"));
    assert_eq!((first.letters().len(), second.letters().len()), (0, 1));
}

#[tokio::test]
async fn the_log_in_is_used_and_never_shown() {
    let mut sink = Sink::start(&[]).await;
    sink.relay.login = true;
    let secrets = [("relay-1/username", "kris"), ("relay-1/password", "hemligt")];
    let mail = mail_with(&[&sink.relay], &secrets);
    mail.publish(&letter("x")).await.unwrap();
    // base64 of \0kris\0hemligt
    assert!(
        sink.said()
            .contains(&"AUTH PLAIN AGtyaXMAaGVtbGlndA==".to_owned()),
        "{:?}",
        sink.said()
    );
    assert!(!format!("{mail:?}").contains("hemligt"));
    let missing = mail_with(&[&sink.relay], &[])
        .publish(&letter("x"))
        .await
        .unwrap_err();
    assert_eq!(missing.as_str(), "credential");
    let mut wrong = Sink::start(&[("AUTH", Act::Say("535 5.7.8 wrong"))]).await;
    wrong.relay.login = true;
    let wrong = mail_with(&[&wrong.relay], &secrets);
    let refused = wrong.publish(&letter("x")).await.unwrap_err();
    assert_eq!(refused.as_str(), "credential");
    assert_eq!(wrong.verify().await.unwrap_err().as_str(), "credential");
    assert!(!refused.to_string().contains("hemligt"));
}

#[tokio::test]
async fn a_relay_must_offer_tls_where_it_is_required() {
    let mut sink = Sink::start(&[]).await;
    sink.relay.tls = RelayTls::Starttls;
    let not_sent = mail(&[&sink.relay]).publish(&letter("x")).await.unwrap_err();
    assert!(
        matches!(&not_sent, SendError::NotSent(r) if r.text.contains("STARTTLS")),
        "{not_sent}"
    );
    assert!(sink.letters().is_empty());
}

#[tokio::test]
async fn verifying_sends_nothing() {
    let sink = Sink::start(&[]).await;
    let gone = Config {
        port: 1,
        ..sink.relay.clone()
    };
    let identity = mail(&[
        &sink.relay,
        &Config {
            id: "relay-2".parse().unwrap(),
            ..gone.clone()
        },
    ])
    .verify()
    .await
    .unwrap();
    assert_eq!(identity.facts["relay-1"], "SINK, no TLS");
    assert!(
        identity.facts["relay-2"].contains("refused"),
        "{:?}",
        identity.facts
    );
    assert_eq!(mail(&[&gone]).verify().await.unwrap_err().as_str(), "not-sent");
    let said = sink.said();
    assert!(said.iter().all(|line| !line.starts_with("MAIL")), "{said:?}");
}

#[tokio::test]
async fn the_chosen_relay_goes_first_and_an_unknown_one_is_told() {
    let first = Sink::start(&[]).await;
    let second = Sink::start(&[]).await;
    let mut parts = parts([]);
    let chosen = Config {
        id: "relay-2".parse().unwrap(),
        ..second.relay.clone()
    };
    parts.relays = Arc::from([first.relay.clone(), chosen]);
    let mut settings = list();
    settings.relay = Some("relay-2".parse().unwrap());
    let mail = settings.open(parts.clone()).unwrap();
    mail.publish(&letter("x")).await.unwrap();
    assert_eq!((first.letters().len(), second.letters().len()), (0, 1));
    settings.relay = Some("relay-9".parse().unwrap());
    assert_eq!(settings.open(parts).unwrap_err().code, "no-relay");
}

#[tokio::test]
async fn without_a_recipient_nothing_is_sent() {
    let sink = Sink::start(&[]).await;
    let refused = mail(&[&sink.relay]).publish(&post("x")).await.unwrap_err();
    assert_eq!(refused.as_str(), "refused");
    assert_eq!(sink.connections.load(Ordering::SeqCst), 0);
}

/// What costs a letter most is a connection with its log-in: there are no more of them than letters under way.
#[tokio::test(flavor = "multi_thread")]
async fn many_letters_share_few_connections() {
    let sink = Sink::start(&[]).await;
    let mail = mail(&[&sink.relay]);
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..16 {
        let mail = Arc::clone(&mail);
        tasks.spawn(async move {
            for n in 0..100 {
                let key = format!("0193f5b0-0000-7000-8000-{lane:04}{n:08}");
                mail.publish(&testing::with_key(letter("x"), &key)).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let connections = sink.connections.load(Ordering::SeqCst);
    assert!(
        connections <= 16,
        "{connections} connections for 16 letters at once"
    );
    assert_eq!(sink.letters().len(), 1600);
}
