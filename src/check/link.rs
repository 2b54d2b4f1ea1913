//! The link: it ends every text, leads to the municipality's own site, and answers.
//!
//! That it stands there and where it leads is checked without asking anyone. Whether the page answers is asked with
//! [`probe`], which can only warn: a page that is slow during a crisis must not stop the alert.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use url::Url;

use super::{Check, CheckInput, Finding};
use crate::channel::Transport;
use crate::config::Municipality;

/// See the module.
pub const CHECK: Check = Check {
    id: "link",
    about: "Varje text slutar med en länk till kommunens webbplats (riktlinjerna, inledningen).",
    run,
};

/// Most that is read of the page: enough to know that it comes.
const READ_CAP: usize = 256 * 1024;

fn run(input: &CheckInput<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (account, rendering) in input.plan.each() {
        if !ends_with(&rendering.text, &rendering.link) {
            findings.push(Finding::block(
                CHECK.id,
                Some(account),
                format!(
                    "Texten på {account} slutar inte med länken {}. Lägg länken sist.",
                    rendering.link
                ),
            ));
        }
    }
    let mut links: Vec<&Url> = input.plan.renderings.iter().map(|r| &r.link).collect();
    links.dedup();
    findings.extend(
        links
            .into_iter()
            .filter_map(|link| foreign(link, input.municipality)),
    );
    findings
}

/// Whether the link stands last, on its own, so that nothing before it becomes part of it.
fn ends_with(text: &str, link: &Url) -> bool {
    text.strip_suffix(link.as_str())
        .is_some_and(|before| before.is_empty() || before.ends_with([' ', '\n']))
}

/// A finding if the link does not lead to the municipality's own site, or carries a user name.
fn foreign(link: &Url, municipality: &Municipality) -> Option<Finding> {
    let ours = link
        .host_str()
        .is_some_and(|host| municipality.site.host_str() == Some(host) || municipality.hosts.contains(host));
    let plain = link.username().is_empty() && link.password().is_none();
    if ours && plain && matches!(link.scheme(), "https" | "http") {
        return None;
    }
    let host = link.host_str().unwrap_or("okänd värd");
    Some(Finding::block(
        CHECK.id,
        None,
        format!(
            "Länken går till {host}, som inte är kommunens webbplats. Rätta sidan i meddelandet eller municipality.hosts."
        ),
    ))
}

/// Asks once whether the page answers: at most one redirect, on the same host; no credentials, no cookies; nothing but
/// the municipality's own hosts. Never longer than `timeout` in all. `None` if the page answers with 200.
///
/// Blocks, without asking, a link that does not lead to the municipality's site. Else it only warns.
pub async fn probe(
    http: &Transport,
    link: &Url,
    municipality: &Municipality,
    timeout: Duration,
) -> Option<Finding> {
    if let Some(foreign) = foreign(link, municipality) {
        return Some(foreign);
    }
    let answer = tokio::time::timeout(timeout, ask(http, link, municipality)).await;
    let what = match answer {
        Ok(Ok(())) => return None,
        Ok(Err(what)) => what,
        Err(_) => format!(
            "svarade inte inom {} sekunder",
            timeout.as_secs_f32().to_string().replace('.', ",")
        ),
    };
    Some(Finding::warn(
        CHECK.id,
        None,
        format!("Sidan {link} {what}. Se efter att den är publicerad. Meddelandet kan skickas ändå."),
    ))
}

/// Whether anyone can open the page at `url`: one request without credentials, no redirect, never longer than `timeout`.
pub async fn opens(http: &Transport, url: &Url, timeout: Duration) -> bool {
    let ask = async {
        let mut answer = http.request(Method::GET, url.clone()).send().await.ok()?;
        if answer.status() != StatusCode::OK {
            return None;
        }
        read(&mut answer).await.ok()
    };
    matches!(tokio::time::timeout(timeout, ask).await, Ok(Some(())))
}

/// One request, and one more if the page has moved within its host. The error completes "Sidan … ".
async fn ask(http: &Transport, link: &Url, municipality: &Municipality) -> Result<(), String> {
    let mut url = link.clone();
    for _ in 0..2 {
        // Sent here and not with `Transport::send`, because a page may be longer than what a channel may answer: its
        // status and its first part are all that is needed.
        let request = http.request(Method::GET, url.clone());
        let mut answer = request.send().await.map_err(|_| "går inte att nå".to_owned())?;
        let status = answer.status();
        if status == StatusCode::OK {
            return read(&mut answer).await;
        }
        if !status.is_redirection() {
            return Err(format!("svarar med fel {}", status.as_u16()));
        }
        url = target(&url, &answer).ok_or("leder vidare till en annan plats")?;
        if foreign(&url, municipality).is_some() {
            return Err("leder vidare till en annan plats".to_owned());
        }
    }
    Err("leder vidare flera gånger".to_owned())
}

async fn read(answer: &mut reqwest::Response) -> Result<(), String> {
    let mut length = 0;
    while let Some(part) = answer.chunk().await.map_err(|_| "bröt av mitt i svaret")? {
        length += part.len();
        if length >= READ_CAP {
            break;
        }
    }
    Ok(())
}

/// Where the answer points, if that is the same server; or the same host with TLS where there was none.
fn target(from: &Url, answer: &reqwest::Response) -> Option<Url> {
    let location = answer.headers().get(reqwest::header::LOCATION)?.to_str().ok()?;
    let to = from.join(location).ok()?;
    let same_host = to.host_str() == from.host_str();
    let same_port =
        to.scheme() == from.scheme() && to.port_or_known_default() == from.port_or_known_default();
    let to_tls = to.scheme() == "https" && to.port().is_none() && from.port().is_none();
    (same_host && (same_port || to_tls)).then_some(to)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::check::Level;
    use crate::clock::SystemClock;
    use crate::compose::examples::municipality;

    /// A page on this machine that answers each request with the next of `answers`, and counts them. An empty answer
    /// is silence.
    async fn page(answers: Vec<String>) -> (Url, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/kris", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                count.fetch_add(1, Ordering::SeqCst);
                let request = String::from_utf8(request).unwrap().to_lowercase();
                assert!(!request.contains("authorization") && !request.contains("cookie"));
                if answer.is_empty() {
                    std::future::pending::<()>().await;
                }
                // The asker may stop reading when it has seen enough.
                drop(stream.write_all(answer.as_bytes()).await);
            }
        });
        (url.parse().unwrap(), asked)
    }

    fn answer(status: &str, more: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n{more}\r\n")
    }

    async fn ask_local(url: &Url) -> Option<Finding> {
        let mut municipality = municipality();
        municipality.hosts.insert("127.0.0.1".to_owned());
        let http = Transport::new(Arc::new(SystemClock), Duration::from_secs(1)).unwrap();
        probe(&http, url, &municipality, Duration::from_millis(500)).await
    }

    async fn told(answers: Vec<String>) -> (Option<String>, usize) {
        let (url, asked) = page(answers).await;
        let finding = ask_local(&url).await;
        if let Some(finding) = &finding {
            assert_eq!(finding.level, Level::Warn);
        }
        (finding.map(|f| f.text), asked.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn a_page_that_answers_gives_no_finding() {
        assert_eq!(told(vec![answer("200 OK", "")]).await, (None, 1));
        let moved = answer("301 Moved Permanently", "Location: /kris/\r\n");
        assert_eq!(told(vec![moved, answer("200 OK", "")]).await, (None, 2));
        let endless = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{}",
            "x".repeat(READ_CAP + 9)
        );
        assert_eq!(told(vec![endless]).await, (None, 1));
    }

    #[tokio::test]
    async fn a_page_that_does_not_answer_is_a_warning() {
        for (answers, words) in [
            (vec![answer("404 Not Found", "")], "svarar med fel 404"),
            (vec![answer("204 No Content", "")], "svarar med fel 204"),
            (vec![String::new()], "svarade inte inom 0,5 sekunder"),
            (vec!["nonsense\r\n\r\n".to_owned()], "går inte att nå"),
            (vec![answer("302 Found", "")], "leder vidare"),
        ] {
            let (text, asked) = told(answers).await;
            let text = text.expect("a finding");
            assert!(text.contains(words), "{text}");
            assert_eq!(asked, 1);
        }
        let closed = "http://127.0.0.1:1/kris".parse().unwrap();
        assert!(ask_local(&closed).await.unwrap().text.contains("går inte att nå"));
    }

    #[tokio::test]
    async fn a_page_that_moves_twice_or_away_is_not_followed() {
        let again = answer("302 Found", "Location: /kris\r\n");
        let (text, asked) = told(vec![again.clone(), again.clone(), again]).await;
        assert!(text.unwrap().contains("flera gånger"));
        assert_eq!(asked, 2);

        let (elsewhere, asked_there) = page(vec![answer("200 OK", "")]).await;
        for away in [
            elsewhere.as_str().to_owned(),
            elsewhere.as_str().replace("127.0.0.1", "localhost"),
            elsewhere.as_str().replace("http://", "http://kalle:hemligt@"),
            "file:///etc/passwd".to_owned(),
            "http://169.254.169.254/latest".to_owned(),
        ] {
            let (text, asked) = told(vec![answer("302 Found", &format!("Location: {away}\r\n"))]).await;
            assert!(text.unwrap().contains("annan plats"), "{away}");
            assert_eq!(asked, 1);
        }
        assert_eq!(asked_there.load(Ordering::SeqCst), 0, "nobody else was asked");
    }

    #[tokio::test]
    async fn another_site_is_blocked_without_being_asked() {
        let (url, asked) = page(vec![answer("200 OK", "")]).await;
        let http = Transport::new(Arc::new(SystemClock), Duration::from_secs(1)).unwrap();
        let finding = probe(&http, &url, &municipality(), Duration::from_secs(1))
            .await
            .unwrap();
        assert_eq!(finding.level, Level::Block);
        assert_eq!(asked.load(Ordering::SeqCst), 0);
    }
}
