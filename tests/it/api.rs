//! The API keeps to its own description: `src/http/openapi.json` names every route and no other, real answers fit its
//! schemas, and what goes wrong comes as an RFC 9457 problem.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Account, PATIENCE, Plan, World};

const DOCUMENT: &str = include_str!("../../src/http/openapi.json");

pub(crate) fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

/// `(path, method)` as the routers' source has them: `.route("<path>", get(…).post(…))`.
fn routes_in_source() -> BTreeSet<(String, String)> {
    let sources = [
        include_str!("../../src/http/api.rs"),
        include_str!("../../src/http/health.rs"),
    ];
    let mut found = BTreeSet::new();
    for source in sources {
        for route in source.split(".route(").skip(1) {
            let line = route.split('\n').next().unwrap();
            let (path, handlers) = line
                .trim_start_matches('"')
                .split_once("\", ")
                .unwrap_or_else(|| panic!("a route that does not stand on one line: {line}"));
            let methods = ["get", "post", "put", "patch", "delete"];
            let mut any = false;
            for method in methods
                .into_iter()
                .filter(|m| handlers.contains(&format!("{m}(")))
            {
                any |= found.insert((path.to_owned(), method.to_owned()));
            }
            assert!(any, "no method: {line}");
        }
    }
    found
}

#[test]
fn the_document_has_every_route_and_no_other() {
    let document = document();
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(|method| (path.clone(), method.clone()))
        })
        .collect();
    let routed = routes_in_source();
    assert!(routed.len() > 15, "the source was not understood: {routed:?}");
    assert_eq!(described, routed);
}

/// Every `$ref` in `value`.
fn refs<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(map) => {
            if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                found.push(target);
            }
            map.values().for_each(|v| refs(v, found));
        }
        Value::Array(list) => list.iter().for_each(|v| refs(v, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_document_leads_nowhere_that_is_not_there() {
    let document = document();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut all = Vec::new();
    refs(&document, &mut all);
    let used: BTreeSet<&str> = all.into_iter().collect();
    for target in &used {
        let pointer = target.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{target}");
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        let target = format!("#/components/schemas/{name}");
        assert!(
            used.contains(target.as_str()),
            "{name} is described and never used"
        );
    }
    let mut ids = BTreeSet::new();
    for operation in document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|m| m.as_object().unwrap().values())
    {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{id} stands twice");
    }
}

/// Says what in `value` does not fit `schema`. Knows the words that our document uses, and no others.
fn misfits(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(target) = schema["$ref"].as_str() {
        let schema = document.pointer(target.trim_start_matches('#')).unwrap();
        return misfits(document, schema, value, at, found);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let fits = any.iter().any(|schema| {
            let mut found = Vec::new();
            misfits(document, schema, value, at, &mut found);
            found.is_empty()
        });
        if !fits {
            found.push(format!("{at}: fits none of {any:?}: {value}"));
        }
        return;
    }
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_i64() || n.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let described = &schema["type"];
    let allowed = described == is
        || described
            .as_array()
            .is_some_and(|types| types.iter().any(|t| t == is));
    if !allowed {
        found.push(format!("{at}: {is} where {} is described", schema["type"]));
        return;
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        found.push(format!("{at}: {value} is not among {words:?}"));
    }
    match value {
        Value::Object(map) => {
            for required in schema["required"].as_array().into_iter().flatten() {
                if !map.contains_key(required.as_str().unwrap()) {
                    found.push(format!("{at}: {required} is missing"));
                }
            }
            let known = schema["properties"].as_object();
            for (key, value) in map {
                let at = format!("{at}.{key}");
                if let Some(schema) = known.and_then(|known| known.get(key)) {
                    misfits(document, schema, value, &at, found);
                } else if schema["additionalProperties"].is_object() {
                    misfits(document, &schema["additionalProperties"], value, &at, found);
                } else if known.is_some() {
                    found.push(format!("{at}: not described"));
                }
            }
        }
        Value::Array(list) => {
            for (n, value) in list.iter().enumerate() {
                let schema = schema["prefixItems"].get(n).unwrap_or(&schema["items"]);
                if schema.is_object() {
                    misfits(document, schema, value, &format!("{at}[{n}]"), found);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Asserts that an answer is the one that the document describes for it.
#[track_caller]
pub(crate) fn fits(document: &Value, path: &str, method: &str, status: u16, body: &Value) {
    let pointer = format!(
        "/paths/{}/{method}/responses/{status}/content/application~1json/schema",
        path.replace('~', "~0").replace('/', "~1")
    );
    let schema = document
        .pointer(&pointer)
        .unwrap_or_else(|| panic!("{method} {path} answers {status}, which is not described: {body}"));
    let mut found = Vec::new();
    misfits(document, schema, body, "", &mut found);
    assert_eq!(found, Vec::<String>::new(), "{method} {path}: {body:#}");
}

/// A world of three channels that needs no secrets for two of them.
async fn world() -> World {
    World::open(Plan::of(vec![
        Account::new("intranat", "webhook"),
        Account::new("skarmar", "file"),
        Account::new("radio", "manual"),
    ]))
    .await
}

/// The same with a register that is published into a folder, and a public page where nobody answers.
async fn registered() -> World {
    let world = world().await;
    let text = std::fs::read_to_string(&world.config).unwrap();
    let register = "[register]\npage = \"http://127.0.0.1:9/konton\"\npublish_to = [\"skarmar\"]\n\n[vault]";
    std::fs::write(&world.config, text.replacen("[vault]", register, 1)).unwrap();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_daemon_answers_is_what_the_document_describes() {
    // Not the first of January in one zone and the last of December in another.
    let year = jiff::tz::TimeZone::get("Europe/Stockholm").unwrap();
    let year = vardkase::clock::Clock::now(&vardkase::clock::SystemClock)
        .to_zoned_datetime(year)
        .year();
    let world = registered().await;
    let _daemon = world.start().await;
    let document = document();
    let mut asked = BTreeSet::new();
    let mut ask = async |method: &'static str, route: &'static str, path: String, body: Option<Value>| {
        let (status, answer) = world
            .ask(&method.to_uppercase(), &path, body.as_ref(), None)
            .await
            .unwrap();
        fits(&document, route, method, status, &answer);
        asked.insert((route.to_owned(), method.to_owned()));
        answer
    };

    let send = json!({ "message": "koka-vattnet", "fields": { "omrade": "Forserum" } });
    let preview = ask(
        "post",
        "/api/v1/previews",
        "/api/v1/previews".to_owned(),
        Some(send.clone()),
    )
    .await;
    assert_eq!(preview["accounts"].as_array().unwrap().len(), 3);
    let accepted = ask(
        "post",
        "/api/v1/broadcasts",
        "/api/v1/broadcasts".to_owned(),
        Some(send),
    )
    .await;
    let broadcast = accepted["broadcast"].as_str().unwrap().to_owned();
    let alert = accepted["alert"].as_str().unwrap();
    let report = world
        .until(&broadcast, "at rest", |report| !report["finished_at"].is_null())
        .await;
    let delivery = report["deliveries"][0]["delivery"].as_str().unwrap().to_owned();

    let base = "/api/v1/broadcasts/{id}";
    ask("get", base, format!("/api/v1/broadcasts/{broadcast}"), None).await;
    let done = json!({ "action": "done", "accounts": ["radio"], "reason": "läste upp" });
    let route = "/api/v1/broadcasts/{id}/actions";
    let acted = ask(
        "post",
        route,
        format!("/api/v1/broadcasts/{broadcast}/actions"),
        Some(done),
    )
    .await;
    assert_eq!(acted["changed"][0][2], "published");
    let route = "/api/v1/broadcasts/{id}/retract";
    ask(
        "post",
        route,
        format!("/api/v1/broadcasts/{broadcast}/retract"),
        Some(json!({})),
    )
    .await;
    ask(
        "get",
        "/api/v1/alerts/{id}",
        format!("/api/v1/alerts/{alert}"),
        None,
    )
    .await;
    ask(
        "get",
        "/api/v1/alerts/{id}/correction",
        format!("/api/v1/alerts/{alert}/correction"),
        None,
    )
    .await;
    ask(
        "get",
        "/api/v1/deliveries/{id}",
        format!("/api/v1/deliveries/{delivery}"),
        None,
    )
    .await;
    for (route, body) in [
        (
            "/api/v1/accounts/{id}/disable",
            json!({ "reason": "misstänkt kapning" }),
        ),
        ("/api/v1/accounts/{id}/enable", json!({})),
    ] {
        ask("post", route, route.replace("{id}", "radio"), Some(body)).await;
        for route in ["/api/v1/accounts", "/api/v1/status"] {
            ask("get", route, route.to_owned(), None).await;
        }
    }
    for (method, route, body) in [
        ("get", "/api/v1/broadcasts", None),
        ("get", "/api/v1/accounts", None),
        ("get", "/api/v1/channels", None),
        ("get", "/api/v1/journal", None),
        ("get", "/api/v1/journal/verification", None),
        ("get", "/api/v1/status", None),
        ("get", "/api/v1/drills", None),
        ("get", "/api/v1/drill-runs", None),
        ("get", "/api/v1/openapi.json", None),
        (
            "post",
            "/api/v1/recipients/suppress",
            Some(json!({ "address": "anna@nassjo.example", "reason": "vill inte" })),
        ),
        ("get", "/api/v1/recipients/suppressed", None),
        (
            "post",
            "/api/v1/recipients/restore",
            Some(json!({ "address": "anna@nassjo.example" })),
        ),
        (
            "post",
            "/api/v1/attestations",
            Some(json!({ "account": "intranat", "what": "logo", "evidence": "KS 2026/7", "until": null })),
        ),
        ("get", "/api/v1/attestations", None),
        (
            "post",
            "/api/v1/attestations/revoke",
            Some(json!({ "account": "intranat", "what": "logo", "reason": "fel bild" })),
        ),
        (
            "post",
            "/api/v1/applications",
            Some(json!({
                "account": "arkiv", "channel": "file", "applicant": "Arkivarie",
                "register": {
                    "owner": "Arkivarie", "unit": "Kommunarkivet", "contact": "arkivet@nassjo.se", "purpose": "Kopia",
                    "document_plan": "Bevaras",
                },
            })),
        ),
        ("get", "/api/v1/applications", None),
        (
            "post",
            "/api/v1/register/publications",
            Some(json!({ "again": true })),
        ),
        ("post", "/api/v1/register/checks", None),
        ("get", "/api/v1/register", None),
        ("post", "/api/v1/reload", None),
        ("post", "/api/v1/verifications", Some(json!({}))),
        ("get", "/api/v1/go", None),
        ("post", "/api/v1/renewals", Some(json!({}))),
        (
            "post",
            "/api/v1/backup",
            Some(json!({ "to": world.dir().join("backup") })),
        ),
    ] {
        ask(method, route, route.to_owned(), body).await;
    }

    ask(
        "get",
        "/api/v1/accounts/{id}/observations",
        "/api/v1/accounts/intranat/observations".to_owned(),
        None,
    )
    .await;
    let decision = json!({ "approve": true, "reason": "fyller ett behov", "by": "Kommunikationschefen" });
    ask(
        "post",
        "/api/v1/applications/{id}/decision",
        "/api/v1/applications/1/decision".to_owned(),
        Some(decision),
    )
    .await;
    let route = "/api/v1/closings/{account}";
    let path = || "/api/v1/closings/skarmar".to_owned();
    ask("get", route, path(), None).await;
    ask("post", route, path(), Some(json!({ "step": "decide" }))).await;
    let route = "/api/v1/register/report";
    ask("get", route, format!("{route}?year={year}"), None).await;

    // Nothing that answers JSON was left out; the others are asked below, the pictures in e2e/picture.rs, and what needs a
    // drill in e2e/drills.rs.
    let text = [
        "/api/v1/drills/{id}/runs",
        "/api/v1/drill-runs/{id}",
        "/api/v1/drill-runs/{id}/page",
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/v1/broadcasts/{id}/events",
        "/api/v1/pictures/{sha256}",
    ];
    let left: Vec<_> = routes_in_source()
        .into_iter()
        .filter(|route| !asked.contains(route) && !text.contains(&route.0.as_str()))
        .collect();
    assert_eq!(left, []);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert!(world.get(path).await.is_string(), "{path}");
    }
    let events = world.get(&format!("/api/v1/broadcasts/{broadcast}/events")).await;
    let event = events.as_str().unwrap();
    assert!(event.starts_with("event: report\ndata: {"), "{event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_comes_as_a_problem() {
    let world = world().await;
    let _daemon = world.start().await;
    let document = document();
    let http = reqwest::Client::builder()
        .unix_socket(world.socket.as_path())
        .no_proxy()
        .timeout(PATIENCE)
        .tls_certs_only(std::iter::empty::<reqwest::Certificate>())
        .build()
        .unwrap();
    let send = r#"{"message":"koka-vattnet","fields":{"omrade":"Forserum"}}"#;
    let unmarked = r#"{"message":"koka-vattnet","fields":{"omrade":"ÖVNING Forserum"},"mode":"live"}"#;
    // Little more than is taken: whoever sends much more may find the connection closed before it reads the answer.
    let big = format!("{{\"message\":\"{}\"}}", "x".repeat(14_260_000));
    for (method, path, body, status, kind) in [
        ("GET", "/api/v1/nothing", "", 404, "not-found"),
        ("GET", "/", "", 404, "not-found"),
        ("DELETE", "/api/v1/broadcasts", "", 405, "method"),
        ("POST", "/api/v1/status", "{}", 405, "method"),
        ("POST", "/healthz", "", 405, "method"),
        ("GET", "/api/v1/broadcasts/2026-9999.1", "", 404, "not-found"),
        (
            "GET",
            "/api/v1/broadcasts/2026-9999.1/events",
            "",
            404,
            "not-found",
        ),
        ("GET", "/api/v1/alerts/2026-9999", "", 404, "not-found"),
        ("GET", "/api/v1/deliveries/0", "", 404, "not-found"),
        ("GET", "/api/v1/broadcasts/%C3%A5", "", 400, "bad-request"),
        ("GET", "/api/v1/broadcasts/%ff", "", 400, "bad-request"),
        ("GET", "/api/v1/broadcasts/%ff/events", "", 400, "bad-request"),
        ("GET", "/api/v1/broadcasts?limit=many", "", 400, "bad-request"),
        ("GET", "/api/v1/journal?nonsense=1", "", 400, "bad-request"),
        ("POST", "/api/v1/broadcasts", "", 400, "bad-request"),
        ("POST", "/api/v1/broadcasts", "{", 400, "bad-request"),
        ("POST", "/api/v1/broadcasts", "{}", 422, "bad-request"),
        (
            "POST",
            "/api/v1/broadcasts",
            r#"{"message":"koka-vattnet","extra":1}"#,
            422,
            "bad-request",
        ),
        (
            "POST",
            "/api/v1/broadcasts",
            r#"{"message":"finns-inte"}"#,
            400,
            "bad-request",
        ),
        ("POST", "/api/v1/broadcasts", &big, 413, "bad-request"),
        ("POST", "/api/v1/broadcasts", unmarked, 422, "checks"),
        (
            "POST",
            "/api/v1/broadcasts/2026-9999.1/retract",
            "{}",
            404,
            "not-found",
        ),
        (
            "POST",
            "/api/v1/broadcasts/2026-9999.1/actions",
            r#"{"action":"cancel"}"#,
            404,
            "not-found",
        ),
        (
            "POST",
            "/api/v1/verifications",
            r#"{"accounts":["finns-inte"]}"#,
            400,
            "bad-request",
        ),
        (
            "POST",
            "/api/v1/backup",
            r#"{"to":"relative"}"#,
            400,
            "bad-request",
        ),
    ] {
        let url = format!("http://vardkase{path}");
        let request = http
            .request(method.parse().unwrap(), url)
            .header("Content-Type", "application/json")
            .body(body.to_owned());
        is_problem(
            &document,
            request,
            status,
            kind,
            &format!("{method} {path} {body:.80}"),
        )
        .await;
    }
    let post = || http.post("http://vardkase/api/v1/broadcasts").body(send);
    is_problem(&document, post(), 415, "bad-request", "no content type").await;
    let keyed = |key: &str| {
        post()
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", key)
    };
    is_problem(
        &document,
        keyed(&"k".repeat(201)),
        400,
        "bad-request",
        "a long key",
    )
    .await;
    assert_eq!(
        world.get("/api/v1/broadcasts").await,
        json!([]),
        "nothing of all this was sent"
    );

    let first = keyed("en").send().await.unwrap();
    assert_eq!(first.status(), 202);
    let other = keyed("en").body(send.replace("Forserum", "Malmbäck"));
    is_problem(
        &document,
        other,
        422,
        "key-reused",
        "another body under the same key",
    )
    .await;
    let again: Value = keyed("en").send().await.unwrap().json().await.unwrap();
    assert_eq!(again["repeated"], true);
}

async fn is_problem(document: &Value, request: reqwest::RequestBuilder, status: u16, kind: &str, what: &str) {
    let answer = request.send().await.unwrap();
    let (got, content_type) = (
        answer.status().as_u16(),
        answer.headers().get("content-type").cloned(),
    );
    let text = answer.text().await.unwrap();
    assert_eq!(got, status, "{what}: {text}");
    let content_type = content_type.unwrap_or_else(|| panic!("{what}: no content type"));
    assert!(
        content_type
            .to_str()
            .unwrap()
            .starts_with("application/problem+json"),
        "{what}: {content_type:?}"
    );
    let problem: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{what}: {error}: {text}"));
    let mut found = Vec::new();
    misfits(
        document,
        &document["components"]["schemas"]["Problem"],
        &problem,
        "",
        &mut found,
    );
    assert_eq!(found, Vec::<String>::new(), "{what}: {problem}");
    assert_eq!(
        problem["type"],
        format!("urn:vardkase:{kind}"),
        "{what}: {problem}"
    );
    assert_eq!(problem["status"], status, "{what}");
    assert_ne!(problem["detail"], "", "{what}");
}
