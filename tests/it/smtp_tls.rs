//! Mail over TLS with real certificates: STARTTLS and implicit TLS reach the relay with the log-in inside the tunnel, and
//! a relay whose certificate nobody vouches for gets neither the log-in nor the mail.
//!
//! In front of the wall's sink stands a TLS server of this test's; its authority is made known to the daemon as an
//! administrator would, through `SSL_CERT_FILE`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::{Account, Plan, World, states};

/// What the front heard before anything was encrypted, and how many tunnels it opened.
#[derive(Debug, Default)]
struct Heard {
    clear: String,
    tunnels: usize,
}

struct Front {
    port: u16,
    authority: String,
    heard: Arc<Mutex<Heard>>,
}

/// Starts a TLS server for `localhost` that hands what it decrypts to the sink.
async fn front(sink: SocketAddr, starttls: bool) -> Front {
    vardkase_provider();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(Mutex::new(Heard::default()));
    let shared = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, heard) = (acceptor.clone(), Arc::clone(&shared));
            tokio::spawn(async move { serve(stream, sink, starttls, &acceptor, &heard).await });
        }
    });
    Front {
        port,
        authority: authority.pem(),
        heard,
    }
}

fn vardkase_provider() {
    tokio_rustls::rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
}

/// One connection. `None` when it ended before it was of use.
async fn serve(
    mut stream: TcpStream,
    sink: SocketAddr,
    starttls: bool,
    acceptor: &TlsAcceptor,
    heard: &Mutex<Heard>,
) -> Option<()> {
    if starttls {
        stream.write_all(b"220 front ESMTP\r\n").await.ok()?;
        loop {
            let line = clear_line(&mut stream).await?;
            heard.lock().unwrap().clear.push_str(&line);
            if line.starts_with("STARTTLS") {
                stream.write_all(b"220 2.0.0 go ahead\r\n").await.ok()?;
                break;
            }
            stream.write_all(b"250-front\r\n250 STARTTLS\r\n").await.ok()?;
        }
    }
    let mut tunnel = acceptor.accept(stream).await.ok()?;
    heard.lock().unwrap().tunnels += 1;
    let mut inside = BufReader::new(TcpStream::connect(sink).await.ok()?);
    if starttls {
        // Inside the tunnel nobody greets a second time.
        let mut greeting = String::new();
        inside.read_line(&mut greeting).await.ok()?;
    }
    tokio::io::copy_bidirectional(&mut tunnel, &mut inside).await.ok();
    Some(())
}

/// A line, byte by byte: what comes after it belongs to TLS.
async fn clear_line(stream: &mut TcpStream) -> Option<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") && line.len() < 1000 {
        line.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&line).into_owned())
}

/// A world whose only relay stands behind the front.
async fn world(starttls: bool) -> (World, Front) {
    let world = World::open(Plan::of(vec![Account::new("press", "email")])).await;
    let front = front(world.wall.smtp(), starttls).await;
    let plain = format!(
        "host = \"127.0.0.1\"\nport = {}\ntls = \"none\"",
        world.wall.smtp().port()
    );
    let tls = if starttls { "starttls" } else { "implicit" };
    let behind = format!("host = \"localhost\"\nport = {}\ntls = \"{tls}\"", front.port);
    let text = std::fs::read_to_string(&world.config).unwrap();
    assert!(text.contains(&plain));
    std::fs::write(&world.config, text.replace(&plain, &behind)).unwrap();
    (world, front)
}

async fn mail_goes_through(starttls: bool) {
    let (world, front) = world(starttls).await;
    let authority = world.dir().join("authority.pem");
    std::fs::write(&authority, &front.authority).unwrap();
    let env = [("SSL_CERT_FILE", authority.to_str().unwrap())];
    let mut daemon = world.spawn_with(&world.config, &[], &env);
    world.ready(&mut daemon).await;
    let (exit, report) = world.send(&[]).await;
    assert_eq!(exit, 0, "{report:#}");
    assert_eq!(states(&report, "press"), ["published", "published"]);
    assert_eq!(world.posts_of("press").len(), 2);
    world.told(report["broadcast"].as_str().unwrap(), 1).await;
    let heard = front.heard.lock().unwrap();
    assert!(heard.tunnels > 0);
    assert!(
        !heard.clear.to_uppercase().contains("AUTH"),
        "a log-in in clear: {}",
        heard.clear
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_and_log_in_go_through_starttls() {
    mail_goes_through(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_and_log_in_go_through_implicit_tls() {
    mail_goes_through(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_nobody_vouches_for_gets_neither_log_in_nor_mail() {
    for starttls in [true, false] {
        let (world, front) = world(starttls).await;
        let _daemon = world.start().await;
        let sent = world
            .cli(&["send", "koka-vattnet", "-f", "omrade=Forserum", "--yes", "--json"])
            .await;
        let broadcast = sent.json()["broadcast"].as_str().unwrap().to_owned();
        let report = world
            .until(&broadcast, "a first attempt failed", |report| {
                report["deliveries"][0]["error"].is_object()
            })
            .await;
        assert_eq!(
            report["deliveries"][0]["state"], "queued",
            "not sent is tried again: {report:#}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(world.posts_of("press").is_empty());
        assert!(!front.heard.lock().unwrap().clear.to_uppercase().contains("AUTH"));
    }
}
