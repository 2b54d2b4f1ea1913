//! What a simulator is: one simulated account of one service, answering one HTTP request at a time.
//!
//! The frame reads the request, applies faults around [`Simulator::answer`], and writes the answer. A simulator is as
//! strict as the real service: log-in, required and unknown fields, limits, idempotency, every error of its reference
//! page. What it truly accepts goes into the [`Book`].

use http::{HeaderMap, Method, Response};
use serde_json::{Value, json};

use super::{Guise, Posted};
use crate::clock::Timestamp;

/// One request below the account's base address.
pub struct Call<'a> {
    /// HTTP method.
    pub method: &'a Method,
    /// Path below the base, with its leading slash: `/api/v1/statuses`.
    pub path: &'a str,
    /// Query, decoded.
    pub query: Vec<(String, String)>,
    /// Headers.
    pub headers: &'a HeaderMap,
    /// Body, at most 16 MiB.
    pub body: &'a [u8],
    /// Now, by the wall's clock.
    pub now: Timestamp,
    /// The base address of the account, for links in answers.
    pub base: &'a str,
    /// A folder of the account's own, for what its adapter puts somewhere for the service to fetch.
    pub folder: &'a std::path::Path,
    /// How the account presents itself.
    pub guise: &'a Guise,
    /// The account's ledger.
    pub book: &'a mut Book,
}

/// The ledger of one simulated account.
#[derive(Debug, Default)]
pub struct Book {
    /// What was accepted, oldest first; deleted posts stay, with their time of deletion.
    pub posts: Vec<Posted>,
    /// What was accepted where the public does not see it; what was taken away stays, with its time.
    pub backstage: Vec<Posted>,
    /// Calls that the service makes by itself once it has answered; the frame makes them, to loopback only.
    pub calls: Vec<Callback>,
}

/// A call that a service makes to us.
#[derive(Debug, Clone)]
pub struct Callback {
    /// Where to.
    pub url: url::Url,
    /// Its headers.
    pub headers: Vec<(&'static str, String)>,
    /// What is posted; `None` if it only asks.
    pub body: Option<Vec<u8>>,
}

impl Callback {
    /// A form that is posted.
    pub fn form(url: &url::Url, fields: &[(&str, &str)]) -> Self {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        Self {
            url: url.clone(),
            headers: vec![("content-type", "application/x-www-form-urlencoded".to_owned())],
            body: Some(form.finish().into_bytes()),
        }
    }
}

/// One simulated account. Holds what the service would hold: sessions, keys seen, quotas.
pub trait Simulator: Send {
    /// The secrets that the service takes, as the vault would hold them.
    fn secrets(&self) -> Vec<(String, String)>;

    /// Something happens at the service that nobody asked for over its API: a token ends, a person is thrown out. Returns
    /// whether the service knows of such a thing.
    fn command(&mut self, _what: &str, _now: Timestamp) -> bool {
        false
    }

    /// Does what the request asks, or refuses it as the service would.
    fn answer(&mut self, call: Call<'_>) -> Response<Vec<u8>>;
}

impl Call<'_> {
    /// The name of the first query parameter that is not known; services ignore such ones, the wall does not.
    pub fn unknown_query(&self, known: &[&str]) -> Option<&str> {
        let unknown = |(name, _): &&(String, String)| !known.contains(&name.as_str());
        self.query.iter().find(unknown).map(|(name, _)| name.as_str())
    }

    /// The header, if it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The token of `Authorization: Bearer …`.
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "))
    }

    /// The body as JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(self.body).ok()
    }

    /// The body as form fields, decoded.
    pub fn form(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.body).into_owned().collect()
    }

    /// The last query parameter of that name.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Answers what is addressed to a place that only we see as if it were the public one, with a ledger of its own. `hidden`
/// is the part of its path that the public one has as `public`.
pub fn behind(
    call: Call<'_>,
    hidden: &str,
    public: &str,
    answer: impl FnOnce(Call<'_>) -> Response<Vec<u8>>,
) -> Response<Vec<u8>> {
    if !call.path.contains(hidden) {
        return answer(call);
    }
    let path = call.path.replacen(hidden, public, 1);
    let Call {
        method,
        path: _,
        query,
        headers,
        body,
        now,
        base,
        folder,
        guise,
        book,
    } = call;
    std::mem::swap(&mut book.posts, &mut book.backstage);
    let response = answer(Call {
        method,
        path: &path,
        query,
        headers,
        body,
        now,
        base,
        folder,
        guise,
        book: &mut *book,
    });
    std::mem::swap(&mut book.posts, &mut book.backstage);
    response
}

/// A JSON answer.
pub fn reply(status: u16, body: &Value) -> Response<Vec<u8>> {
    let mut response = Response::new(body.to_string().into_bytes());
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(
        "content-type",
        http::HeaderValue::from_static("application/json; charset=utf-8"),
    );
    response
}

/// A JSON answer with only an `error` text.
pub fn error(status: u16, text: &str) -> Response<Vec<u8>> {
    reply(status, &json!({ "error": text }))
}

/// What a resident finds at a post's own address; `None` if it is not there or not there any more.
pub fn page(text: Option<&str>) -> Response<Vec<u8>> {
    let (status, text) = match text {
        Some(text) => (http::StatusCode::OK, text),
        None => (http::StatusCode::NOT_FOUND, "Inlägget finns inte."),
    };
    let mut response = Response::new(text.as_bytes().to_vec());
    *response.status_mut() = status;
    response.headers_mut().insert(
        "content-type",
        http::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
