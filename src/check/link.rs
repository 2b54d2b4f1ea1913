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
        Err(_) => format!("svarade inte inom {} sekunder", timeout.as_secs_f32()),
    };
    Some(Finding::warn(
        CHECK.id,
        None,
        format!("Sidan {link} {what}. Se efter att den är publicerad. Meddelandet kan skickas ändå."),
    ))
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

/// Where the answer points, if that is on the same host and no less safe.
fn target(from: &Url, answer: &reqwest::Response) -> Option<Url> {
    let location = answer.headers().get(reqwest::header::LOCATION)?.to_str().ok()?;
    let to = from.join(location).ok()?;
    let same_host = to.host_str() == from.host_str();
    let as_safe = to.scheme() == from.scheme() || to.scheme() == "https";
    (same_host && as_safe).then_some(to)
}
