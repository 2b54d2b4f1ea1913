//! The door on 127.0.0.1 that the browser comes back to: one answer, then it is shut. It hands out no file, takes nothing
//! but `GET` of one path, and does not care for requests that are meant for another host.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use url::{Host, Url};

use crate::cli::{Exit, Failure};
use crate::model::Reason;

/// Longest head of a request.
const MAX_HEAD: usize = 16 * 1024;
/// How long a connection may take to say what it wants: browsers open some that they do not use.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that are heard at once.
const AT_ONCE: usize = 16;
/// The path of return, where none is given.
const PATH: &str = "/callback";
/// The port of an address that nobody listens at: the person copies it from the browser.
pub const USUAL_PORT: u16 = 8765;

/// The open door.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    address: Url,
}

/// An answer that came, and the browser that waits for ours.
type Returned = (Vec<(String, String)>, TcpStream);

/// What a connection asked for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// The path of return, with this query.
    Return(Vec<(String, String)>),
    /// Something else; answered so.
    Other(&'static str),
}

/// Whether an address is one that we can listen at.
pub fn is_ours(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip == Ipv4Addr::LOCALHOST,
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv6(_)) | None => false,
    };
    is_loopback && url.scheme() == "http"
}

/// An address of return at this port of ours.
pub fn address(port: u16) -> Result<Url, Failure> {
    Ok(Url::parse(&format!("http://127.0.0.1:{port}{PATH}"))?)
}

impl Door {
    /// Listens at the address that the app's settings name, or at this port (0 for a free one).
    pub async fn open(given: Option<&Url>, port: u16) -> Result<Self, Failure> {
        let port = given.and_then(Url::port_or_known_default).unwrap_or(port);
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(at).await.map_err(|error| {
            let text =
                format!("the browser cannot come back to {at}: {error}. Choose another port, or use --paste");
            Failure::new(Exit::Error, text)
        })?;
        let address = match given {
            Some(url) => url.clone(),
            None => address(listener.local_addr()?.port())?,
        };
        Ok(Self { listener, address })
    }

    /// Where the browser comes back to.
    pub fn address(&self) -> &Url {
        &self.address
    }

    /// What `accept` makes of the first answer that comes; whatever it is, there is no second.
    pub async fn receive(
        &self,
        accept: impl Fn(&[(String, String)]) -> Result<SecretString, Reason>,
    ) -> Result<SecretString, Reason> {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let (tell, mut told) = tokio::sync::mpsc::channel::<Returned>(1);
        // Ended with this call, whatever they are doing.
        let mut connections = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                returned = told.recv() => {
                    let Some((query, stream)) = returned else { continue };
                    let result = accept(&query);
                    answer(stream, if result.is_ok() { "200 OK" } else { "400 Bad Request" }).await;
                    return result;
                }
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = self.listener.accept() => {
                    let Ok((stream, _)) = accepted else {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    };
                    // One too many is not heard at all.
                    let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
                    let (tell, address) = (tell.clone(), self.address.clone());
                    connections.spawn(async move {
                        let _permit = permit;
                        hear(stream, &address, tell).await;
                    });
                }
            }
        }
    }
}

async fn hear(mut stream: TcpStream, address: &Url, tell: tokio::sync::mpsc::Sender<Returned>) {
    let Ok(Some(head)) = tokio::time::timeout(PATIENCE, head(&mut stream)).await else {
        return;
    };
    match asked(&head, address) {
        // The first one decides; who comes after it finds the door shut.
        Asked::Return(query) => drop(tell.send((query, stream)).await),
        Asked::Other(status) => answer(stream, status).await,
    }
}

/// The head of a request as text; `None` if it is none.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut chunk = [0_u8; 2048];
    loop {
        let n = stream.read(&mut chunk).await.ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(chunk.get(..n)?);
        if bytes.windows(4).any(|four| four == b"\r\n\r\n") {
            return String::from_utf8(bytes).ok();
        }
        if bytes.len() > MAX_HEAD {
            return None;
        }
    }
}

/// Reads a head. Pure.
fn asked(head: &str, address: &Url) -> Asked {
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !words.next().unwrap_or_default().starts_with("HTTP/1.") {
        return Asked::Other("400 Bad Request");
    }
    let hosts = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim())
    });
    let host = address.host_str().unwrap_or_default();
    // As a browser writes it: without the usual port.
    let own = address
        .port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    // A page elsewhere whose name was turned to 127.0.0.1 does not get in.
    if hosts.collect::<Vec<_>>() != [own.as_str()] {
        return Asked::Other("421 Misdirected Request");
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if path != address.path() {
        return Asked::Other("404 Not Found");
    }
    if method != "GET" {
        return Asked::Other("405 Method Not Allowed");
    }
    Asked::Return(
        url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
    )
}

async fn answer(mut stream: TcpStream, status: &str) {
    let text = match status {
        "200 OK" => "Svaret är mottaget. Stäng fönstret: resultatet står i terminalen.",
        "400 Bad Request" => "Svaret gick inte att använda. Stäng fönstret: orsaken står i terminalen.",
        _ => "Här finns ingenting.",
    };
    let page = format!(
        "<!doctype html><html lang=\"sv\"><meta charset=\"utf-8\"><title>Vårdkase</title><p>{text}</p></html>\n"
    );
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         referrer-policy: no-referrer\r\nx-content-type-options: nosniff\r\n\
         content-security-policy: default-src 'none'; frame-ancestors 'none'\r\nconnection: close\r\n\r\n",
        page.len()
    );
    let whole = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(page.as_bytes()).await?;
        stream.shutdown().await
    };
    // Whether the person reads it changes nothing.
    tokio::time::timeout(PATIENCE, whole).await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(head: &str) -> Asked {
        asked(head, &address(4711).unwrap())
    }

    #[test]
    fn only_a_get_of_the_one_path_at_our_own_name_is_an_answer() {
        let own = "host: 127.0.0.1:4711\r\n\r\n";
        for (line, host, status) in [
            ("GET / HTTP/1.1\r\n", own, "404 Not Found"),
            ("GET /favicon.ico HTTP/1.1\r\n", own, "404 Not Found"),
            ("GET /callback/x?code=a HTTP/1.1\r\n", own, "404 Not Found"),
            (
                "GET http://127.0.0.1:4711/callback?code=a HTTP/1.1\r\n",
                own,
                "404 Not Found",
            ),
            (
                "POST /callback?code=a HTTP/1.1\r\n",
                own,
                "405 Method Not Allowed",
            ),
            (
                "HEAD /callback?code=a HTTP/1.1\r\n",
                own,
                "405 Method Not Allowed",
            ),
            ("GET /callback?code=a\r\n", own, "400 Bad Request"),
            ("GET /callback?code=a HTTP/2\r\n", own, "400 Bad Request"),
            (
                "GET /callback?code=a HTTP/1.1\r\n",
                "\r\n",
                "421 Misdirected Request",
            ),
            (
                "GET /callback?code=a HTTP/1.1\r\n",
                "host: evil.example:4711\r\n\r\n",
                "421 Misdirected Request",
            ),
            (
                "GET /callback?code=a HTTP/1.1\r\nhost: 127.0.0.1:4711\r\n",
                own,
                "421 Misdirected Request",
            ),
        ] {
            assert_eq!(
                ask(&format!("{line}{host}")),
                Asked::Other(status),
                "{line}{host}"
            );
        }
        assert_eq!(
            ask("GET /callback?code=a%20b&state=s HTTP/1.1\r\nHost: 127.0.0.1:4711\r\n\r\n"),
            Asked::Return(vec![
                ("code".to_owned(), "a b".to_owned()),
                ("state".to_owned(), "s".to_owned())
            ])
        );
    }

    #[test]
    fn we_listen_at_loopback_only() {
        for (url, ours) in [
            ("http://127.0.0.1:80/x", true),
            ("http://localhost:8080/", true),
            ("https://localhost:8080/", false),
            ("http://127.0.0.2/", false),
            ("http://0.0.0.0/", false),
            ("https://nassjo.se/callback", false),
        ] {
            assert_eq!(is_ours(&url.parse().unwrap()), ours, "{url}");
        }
    }
}
