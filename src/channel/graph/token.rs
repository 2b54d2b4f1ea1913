//! What Meta tells of a token: until when it holds and what it may. The token asks about itself.
//!
//! It is the one request that has a token in its address: there is no other documented form (reference page of Facebook
//! pages, §2), and it goes over TLS to the service that made the token.

use std::collections::BTreeSet;

use serde_json::Value;

use super::client::trouble;
use crate::channel::transport::Answer;
use crate::clock::Timestamp;
use crate::model::{Reason, SendError};

/// What a token is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::channel) struct Token {
    /// `None` for one that never ends.
    pub expires_at: Option<Timestamp>,
    /// Past it nothing can be read any more, though posts still go out.
    pub reads_until: Option<Timestamp>,
    /// What it may do with the object in question.
    pub scopes: BTreeSet<String>,
    /// `USER`, `PAGE`, `SYSTEM_USER`.
    pub kind: Option<String>,
}

/// Reads what is told of a token about `object`, or in general. `Ok(None)` if the service does not tell it this token: the account itself
/// has answered by then, so that this makes it no less reachable.
///
/// # Errors
/// If the service says that the token is dead.
pub(in crate::channel) fn told(answer: &Answer, object: Option<&str>) -> Result<Option<Token>, SendError> {
    if trouble(answer).is_some() {
        return Ok(None);
    }
    let data = answer.json().unwrap_or(Value::Null)["data"].take();
    match data["is_valid"].as_bool() {
        None => Ok(None),
        Some(false) => {
            let error = &data["error"];
            let subcode = error["subcode"].as_i64().unwrap_or(0);
            let code = error["code"].as_i64().unwrap_or(190);
            Err(SendError::Credential(super::reason(error, code, subcode)))
        }
        Some(true) => Ok(Some(Token {
            expires_at: moment(&data["expires_at"]),
            reads_until: moment(&data["data_access_expires_at"]),
            scopes: scopes(&data, object),
            kind: data["type"].as_str().map(str::to_owned),
        })),
    }
}

/// A scope that is given for other objects only is none.
fn scopes(data: &Value, object: Option<&str>) -> BTreeSet<String> {
    let granular = data["granular_scopes"].as_array();
    let elsewhere = |scope: &str| {
        let named = granular.into_iter().flatten().find(|one| one["scope"] == scope);
        let targets = named.and_then(|one| one["target_ids"].as_array());
        let lacks = |targets: &Vec<Value>, object: &str| !targets.iter().any(|target| target == object);
        targets
            .zip(object)
            .is_some_and(|(targets, object)| lacks(targets, object))
    };
    let all = data["scopes"].as_array().into_iter().flatten();
    all.filter_map(Value::as_str)
        .filter(|scope| !elsewhere(scope))
        .take(100)
        .map(str::to_owned)
        .collect()
}

/// Unix seconds; 0 is never.
fn moment(seconds: &Value) -> Option<Timestamp> {
    let seconds = seconds.as_i64().filter(|seconds| *seconds > 0)?;
    Timestamp::from_second(seconds).ok()
}

impl Token {
    /// What is wrong with it at `now`.
    pub(in crate::channel) fn flaws(&self, now: Timestamp) -> Vec<Reason> {
        let over = self.reads_until.filter(|until| *until <= now);
        let over = over.map(|until| {
            Reason::new(
                "data-access",
                format!("since {until} the token may read nothing: consent again in a browser"),
            )
        });
        over.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::testing::accepted_at;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            headers: reqwest::header::HeaderMap::new(),
            body: body.as_bytes().to_vec(),
            at: accepted_at(),
        }
    }

    #[test]
    fn a_scope_for_other_pages_is_none_and_a_zero_is_never() {
        let body = r#"{"data":{"is_valid":true,"type":"PAGE","expires_at":0,"data_access_expires_at":1797776000,
            "scopes":["pages_manage_posts","pages_show_list","pages_read_engagement"],"granular_scopes":[
            {"scope":"pages_manage_posts","target_ids":["77"]},{"scope":"pages_show_list","target_ids":["77","1055"]}]}}"#;
        let token = told(&answer(200, body), Some("1055")).unwrap().unwrap();
        assert_eq!(token.expires_at, None);
        let scopes: Vec<&str> = token.scopes.iter().map(String::as_str).collect();
        assert_eq!(scopes, ["pages_read_engagement", "pages_show_list"]);
        let end = token.reads_until.unwrap();
        assert!(token.flaws(end - jiff::SignedDuration::from_secs(1)).is_empty());
        assert_eq!(token.flaws(end)[0].code, "data-access");
    }

    #[test]
    fn a_dead_token_is_told_by_its_code_and_what_is_not_told_is_no_harm() {
        let dead = r#"{"data":{"is_valid":false,"error":{"code":190,"subcode":463,"message":"expired"}}}"#;
        let error = told(&answer(200, dead), None).unwrap_err();
        assert!(matches!(error, SendError::Credential(_)));
        assert_eq!(error.reason().code, "graph-190-463");
        for (status, body) in [
            (
                400,
                r#"{"error":{"code":100,"message":"(#100) You must provide an app access token"}}"#,
            ),
            (200, "{}"),
            (200, "nonsense"),
            (500, ""),
        ] {
            assert_eq!(told(&answer(status, body), None), Ok(None), "{body}");
        }
    }
}
