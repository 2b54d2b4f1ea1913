//! The authorisation server of the simulated services: the page on which a person agrees, codes that are good once and
//! briefly, and the proof of who began. Each service keeps its own tokens; this is what they share.
//!
//! The page is a real one: a browser shows it, and a test posts its form. Whoever opens it chooses as whom to agree: as
//! the account itself, or as another one, which is how people go wrong.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, Response, StatusCode};
use jiff::SignedDuration;
use sha2::{Digest, Sha256};
use url::Url;

use super::sim::Call;
use crate::clock::Timestamp;

/// How long a code can be exchanged.
const CODE_LIFE: SignedDuration = SignedDuration::from_secs(60);
/// How long a page may lie open.
const PAGE_LIFE: SignedDuration = SignedDuration::from_hours(1);
/// Most visits that are remembered.
const MAX_VISITS: usize = 1000;
/// The address of those who are shown a code.
pub(super) const SHOWN: &str = "urn:ietf:wg:oauth:2.0:oob";

/// As whom somebody agreed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Person {
    /// As the account that the simulator is.
    Account,
    /// As somebody else.
    Other,
}

/// What an app asked for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Which app.
    pub client: String,
    /// Where the browser goes afterwards.
    pub back: String,
    /// What for.
    pub scopes: Vec<String>,
    /// Given back as it came.
    pub state: Option<String>,
    /// The digest of the app's proof key.
    pub challenge: Option<String>,
}

/// A page that lies open, and what came of it.
struct Visit {
    ticket: String,
    asked: Asked,
    opened: Timestamp,
    given: Option<Given>,
}

struct Given {
    code: String,
    person: Person,
    at: Timestamp,
    used: bool,
}

/// What a code stands for.
#[derive(Debug, Clone)]
pub(super) struct Agreed {
    /// As whom.
    pub person: Person,
    /// To what.
    pub scopes: Vec<String>,
}

/// Why a code is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stale {
    /// There is no such code, or it is another app's, or for another address.
    Unknown,
    /// It was used.
    Used,
    /// It is too old.
    Expired,
    /// The proof key is not the one that was announced.
    Proof,
}

/// The counter at which people agree.
#[derive(Default)]
pub(super) struct Desk {
    visits: Vec<Visit>,
    /// Whether codes are numbers to be typed.
    numbers: bool,
}

impl Desk {
    /// A counter whose codes are numbers of seven digits.
    pub fn of_numbers() -> Self {
        Self {
            visits: Vec::new(),
            numbers: true,
        }
    }

    /// Shows the page.
    pub fn open(&mut self, service: &str, asked: Asked, call: &Call<'_>) -> Response<Vec<u8>> {
        let ticket = random();
        let page = page(service, &asked, &ticket, &format!("{}{}", call.base, call.path));
        if self.visits.len() >= MAX_VISITS {
            self.visits.remove(0);
        }
        self.visits.push(Visit {
            ticket,
            asked,
            opened: call.now,
            given: None,
        });
        html(200, &page)
    }

    /// Takes the page's form.
    pub fn decide(&mut self, call: &Call<'_>) -> Response<Vec<u8>> {
        let form: Vec<(String, String)> = call.form();
        let field = |name: &str| {
            form.iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
        };
        let known = ["ticket", "decision", "person", "scope"];
        if form.iter().any(|(key, _)| !known.contains(&key.as_str())) {
            return html(400, "<p>Okänt fält.</p>");
        }
        let ticket = field("ticket").unwrap_or_default();
        let visit = self
            .visits
            .iter_mut()
            .find(|visit| visit.ticket == ticket && visit.given.is_none());
        let Some(visit) = visit.filter(|visit| call.now.duration_since(visit.opened) < PAGE_LIFE) else {
            return html(400, "<p>Sidan är för gammal. Börja om.</p>");
        };
        let person = match field("person") {
            Some("konto") => Person::Account,
            Some("annan") => Person::Other,
            _ => return html(400, "<p>Välj som vem du är inloggad.</p>"),
        };
        if field("decision") != Some("ja") {
            let said_no = [
                ("error", "access_denied"),
                ("error_description", "The user denied your request"),
            ];
            return send_back(&visit.asked, &said_no);
        }
        visit
            .asked
            .scopes
            .retain(|scope| form.iter().any(|(key, value)| key == "scope" && value == scope));
        let code = if self.numbers {
            format!("{:07}", rand::random::<u32>() % 10_000_000)
        } else {
            random()
        };
        visit.given = Some(Given {
            code: code.clone(),
            person,
            at: call.now,
            used: false,
        });
        if visit.asked.back == SHOWN {
            return html(200, &format!("<p>Din kod är:</p><p><code>{code}</code></p>"));
        }
        send_back(&visit.asked, &[("code", &code)])
    }

    /// What a code stands for; once, and briefly.
    pub fn redeem(
        &mut self,
        code: &str,
        (client, back): (&str, &str),
        verifier: Option<&str>,
        now: Timestamp,
    ) -> Result<Agreed, Stale> {
        let visit = self.visits.iter_mut().find(|visit| {
            let is_it = visit.given.as_ref().is_some_and(|given| given.code == code);
            is_it && visit.asked.client == client && visit.asked.back == back
        });
        let visit = visit.ok_or(Stale::Unknown)?;
        let given = visit.given.as_mut().ok_or(Stale::Unknown)?;
        // Whatever comes of it: a code is shown once.
        if std::mem::replace(&mut given.used, true) {
            return Err(Stale::Used);
        }
        if now.duration_since(given.at) > CODE_LIFE {
            return Err(Stale::Expired);
        }
        let proof = verifier.map(|verifier| URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())));
        if proof != visit.asked.challenge {
            return Err(Stale::Proof);
        }
        Ok(Agreed {
            person: given.person,
            scopes: visit.asked.scopes.clone(),
        })
    }

    /// Makes every code older than it may be.
    pub fn expire(&mut self) {
        for given in self.visits.iter_mut().filter_map(|visit| visit.given.as_mut()) {
            given.at = Timestamp::UNIX_EPOCH;
        }
    }
}

/// The parameters of an address to which a browser comes: each once, none that is not known.
pub(super) fn parameters<'c>(
    call: &'c Call<'_>,
    known: &[&str],
) -> Result<BTreeMap<&'c str, &'c str>, String> {
    let mut found = BTreeMap::new();
    for (name, value) in &call.query {
        if !known.contains(&name.as_str()) || found.insert(name.as_str(), value.as_str()).is_some() {
            return Err(format!("unknown or repeated parameter {name}"));
        }
    }
    Ok(found)
}

/// The same of a form.
pub(super) fn form(call: &Call<'_>, known: &[&str]) -> Result<BTreeMap<String, String>, String> {
    let kind = call.header("content-type").unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err("the body is no form".to_owned());
    }
    let mut found = BTreeMap::new();
    for (name, value) in call.form() {
        if !known.contains(&name.as_str()) {
            return Err(format!("unknown parameter {name}"));
        }
        if found.insert(name, value).is_some() {
            return Err("repeated parameter".to_owned());
        }
    }
    Ok(found)
}

/// Whether a browser may be sent there at all: to this machine, or by https.
pub(super) fn may_go(back: &str) -> bool {
    Url::parse(back).is_ok_and(|url| {
        url.fragment().is_none()
            && (url.scheme() == "https" || (url.scheme() == "http" && super::server::is_loopback(&url)))
    })
}

/// A page that says no before anybody was asked.
pub(super) fn refuse(why: &str) -> Response<Vec<u8>> {
    html(400, &format!("<p>{}</p>", escape(why)))
}

fn send_back(asked: &Asked, answer: &[(&str, &str)]) -> Response<Vec<u8>> {
    let Ok(mut to) = Url::parse(&asked.back) else {
        return refuse("no address to go back to");
    };
    if asked.back == SHOWN {
        return html(200, "<p>Du sa nej.</p>");
    }
    to.query_pairs_mut().extend_pairs(answer);
    if let Some(state) = &asked.state {
        to.query_pairs_mut().append_pair("state", state);
    }
    let mut response = html(303, "");
    if let Ok(to) = HeaderValue::from_str(to.as_str()) {
        response.headers_mut().insert("location", to);
    }
    response
}

fn page(service: &str, asked: &Asked, ticket: &str, to: &str) -> String {
    let mut boxes = String::new();
    for scope in &asked.scopes {
        let scope = escape(scope);
        // Writing to a string cannot fail.
        let _infallible = write!(
            boxes,
            "<p><label><input type=\"checkbox\" name=\"scope\" value=\"{scope}\" checked> {scope}</label></p>"
        );
    }
    let (service, ticket, to) = (escape(service), escape(ticket), escape(to));
    format!(
        "<h1>{service}</h1><p>Ett program vill använda kontot. Det här är övningsväggen: inget riktigt konto berörs.</p>\
         <form method=\"post\" action=\"{to}\"><input type=\"hidden\" name=\"ticket\" value=\"{ticket}\">\
         <fieldset><legend>Inloggad som</legend>\
         <p><label><input type=\"radio\" name=\"person\" value=\"konto\" checked> kommunens konto</label></p>\
         <p><label><input type=\"radio\" name=\"person\" value=\"annan\"> ett annat konto</label></p></fieldset>\
         <fieldset><legend>Programmet får</legend>{boxes}</fieldset>\
         <p><button name=\"decision\" value=\"ja\">Godkänn</button> <button name=\"decision\" value=\"nej\">Neka</button></p></form>"
    )
}

fn html(status: u16, body: &str) -> Response<Vec<u8>> {
    let page = format!(
        "<!doctype html><html lang=\"sv\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Övningsväggen</title></head><body><main>{body}</main></body></html>\n"
    );
    let mut response = Response::new(page.into_bytes());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

pub(super) fn escape(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            c => c.to_string(),
        })
        .collect()
}

/// Something that nobody guesses.
pub(super) fn random() -> String {
    hex::encode(rand::random::<[u8; 20]>())
}
