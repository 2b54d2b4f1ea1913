//! What the adapter really sends, held against the lexicons as the service publishes them, where they are at hand; and the
//! practice wall, which knows them by heart, held against the same.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use unicode_segmentation::UnicodeSegmentation;

use super::tests::{open_long, secrets, session};
use crate::channel::testing::{Server, json as answer, post};
use crate::model::{Picture, Post, Receipt};
use crate::wall::bluesky::{lexicon_fault, profile_lexicon_fault};

const POSTS: &str = "app.bsky.feed.post";
const PROFILE: &str = "app.bsky.actor.profile";
const CID: &str = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a";

/// The folder of lexicons.
struct Lexicons(PathBuf);

impl Lexicons {
    fn at_hand() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let beside = ["../shared", "../../shared"].map(|shared| root.join(shared));
        let folders = beside.map(|shared| shared.join("reference/specs/atproto-lexicons"));
        folders.into_iter().find(|folder| folder.is_dir()).map(Self)
    }

    /// What a reference such as `app.bsky.richtext.facet#link` or, within `from`, `#link` means, and the lexicon that it
    /// stands in.
    fn definition(&self, reference: &str, from: &str) -> Option<(Value, String)> {
        let (nsid, name) = reference.split_once('#').unwrap_or((reference, "main"));
        let nsid = if nsid.is_empty() { from } else { nsid };
        let file = self.0.join(format!("{}.json", nsid.replace('.', "/")));
        let lexicon: Value = serde_json::from_str(&std::fs::read_to_string(file).ok()?).unwrap();
        assert_eq!(lexicon["id"], nsid);
        Some((lexicon["defs"].get(name)?.clone(), nsid.to_owned()))
    }

    /// What is wrong with the input of a procedure, and with the record in it.
    fn input(&self, procedure: &str, body: &Value) -> Vec<String> {
        let (definition, nsid) = self.definition(procedure, "").expect(procedure);
        assert_eq!(definition["type"], "procedure");
        let mut found = Vec::new();
        let schema = &definition["input"]["schema"];
        self.misfits(&nsid, schema, body, procedure, &mut found);
        if let (Some(collection), Some(record)) = (body["collection"].as_str(), body.get("record")) {
            found.extend(self.record(collection, record));
            let (definition, _) = self.definition(collection, "").unwrap();
            let key = body["rkey"].as_str().unwrap();
            let fits = match definition["key"].as_str().unwrap() {
                "tid" => super::record::is_tid(key),
                other => Some(key) == other.strip_prefix("literal:"),
            };
            if !fits {
                found.push(format!("{procedure}: {key} is no key of {collection}"));
            }
        }
        found
    }

    /// What is wrong with a record of `collection`.
    fn record(&self, collection: &str, record: &Value) -> Vec<String> {
        let (definition, nsid) = self.definition(collection, "").expect(collection);
        let mut found = Vec::new();
        if record["$type"] != collection {
            found.push(format!("{collection}: the $type is {}", record["$type"]));
        }
        self.misfits(&nsid, &definition["record"], record, collection, &mut found);
        found
    }

    /// What of `value` the schema does not allow. Stricter than the service in one thing: a key and a member of a union
    /// that are not known are taken for a slip of the pen.
    fn misfits(&self, nsid: &str, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        let kind = schema["type"].as_str().unwrap();
        match kind {
            "ref" => {
                let reference = schema["ref"].as_str().unwrap();
                let (definition, nsid) = self.definition(reference, nsid).expect(reference);
                self.misfits(&nsid, &definition, value, at, found);
            }
            "union" => self.union(nsid, schema, value, at, found),
            "object" => self.object(nsid, schema, value, at, found),
            "array" => {
                let Some(items) = value.as_array() else {
                    found.push(format!("{at}: {value} is no array"));
                    return;
                };
                if is_outside(schema, "minLength", "maxLength", items.len()) {
                    found.push(format!("{at}: {} items", items.len()));
                }
                for item in items {
                    self.misfits(nsid, &schema["items"], item, &format!("{at}[]"), found);
                }
            }
            "string" => string(schema, value, at, found),
            "integer" => match value.as_i64() {
                Some(n) => {
                    let least = schema["minimum"].as_i64().is_some_and(|least| n < least);
                    if least || schema["maximum"].as_i64().is_some_and(|most| n > most) {
                        found.push(format!("{at}: {n} is outside"));
                    }
                }
                None => found.push(format!("{at}: {value} is no integer")),
            },
            "boolean" if value.is_boolean() => {}
            "unknown" if value.is_object() => {}
            "boolean" | "unknown" => found.push(format!("{at}: {value} is no {kind}")),
            "blob" => blob(schema, value, at, found),
            other => panic!("{other}"),
        }
    }

    fn union(&self, nsid: &str, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        let named = value["$type"].as_str().unwrap_or_default();
        let absolute = |reference: &str| match reference.strip_prefix('#') {
            Some(name) => format!("{nsid}#{name}"),
            None => reference.to_owned(),
        };
        let references = schema["refs"].as_array().unwrap().iter();
        let known = references
            .map(|reference| absolute(reference.as_str().unwrap()))
            .find(|reference| reference == named);
        match known.and_then(|reference| self.definition(&reference, nsid)) {
            Some((definition, nsid)) => self.misfits(&nsid, &definition, value, at, found),
            None => found.push(format!("{at}: {named:?} is none of the union")),
        }
    }

    fn object(&self, nsid: &str, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
        let Some(fields) = value.as_object() else {
            found.push(format!("{at}: {value} is no object"));
            return;
        };
        let listed = |list: &str, name: &str| {
            let mut names = schema[list].as_array().into_iter().flatten();
            names.any(|one| one == name)
        };
        for name in schema["required"].as_array().into_iter().flatten() {
            if !fields.contains_key(name.as_str().unwrap()) {
                found.push(format!("{at}: {name} is missing"));
            }
        }
        for (name, part) in fields.iter().filter(|(name, _)| *name != "$type") {
            match schema["properties"].get(name) {
                Some(_) if part.is_null() && listed("nullable", name) => {}
                Some(known) => self.misfits(nsid, known, part, &format!("{at}.{name}"), found),
                None => found.push(format!("{at}: {name} is not known")),
            }
        }
    }
}

fn is_outside(schema: &Value, least: &str, most: &str, length: usize) -> bool {
    let bound = |name: &str| schema[name].as_u64().map(|n| usize::try_from(n).unwrap());
    bound(least).is_some_and(|least| length < least) || bound(most).is_some_and(|most| length > most)
}

fn string(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(text) = value.as_str() else {
        found.push(format!("{at}: {value} is no string"));
        return;
    };
    if is_outside(schema, "minLength", "maxLength", text.len()) {
        found.push(format!("{at}: {} bytes", text.len()));
    }
    let graphemes = text.graphemes(true).count();
    if is_outside(schema, "minGraphemes", "maxGraphemes", graphemes) {
        found.push(format!("{at}: {graphemes} graphemes"));
    }
    let is_did = |text: &str| {
        let mut parts = text.splitn(3, ':');
        let (did, method, id) = (parts.next(), parts.next(), parts.next());
        did == Some("did")
            && method.is_some_and(|m| !m.is_empty() && m.chars().all(|c| c.is_ascii_lowercase()))
            && id.is_some_and(|id| !id.is_empty() && id.chars().all(is_of("._:%-")))
    };
    let is_handle = |text: &str| {
        let labels: Vec<&str> = text.split('.').collect();
        let is_label = |label: &&str| !label.is_empty() && label.chars().all(is_of("-"));
        labels.len() > 1 && text.len() <= 253 && labels.iter().all(is_label)
    };
    let is_nsid = |text: &str| text.split('.').count() > 2 && is_handle(text);
    let is_key = |text: &str| {
        (1..=512).contains(&text.len()) && !matches!(text, "." | "..") && text.chars().all(is_of("_~.:-"))
    };
    let fits = match schema["format"].as_str() {
        None => true,
        Some("datetime") => text.contains('T') && text.parse::<jiff::Timestamp>().is_ok(),
        Some("uri") => text.split_once(':').is_some_and(|(scheme, rest)| {
            let rest = rest.strip_prefix("//").unwrap_or(rest);
            !scheme.is_empty()
                && scheme.chars().all(char::is_alphanumeric)
                && !rest.is_empty()
                && !rest.starts_with('/')
                && !rest.contains(char::is_whitespace)
        }),
        Some("at-uri") => text.strip_prefix("at://").is_some_and(|rest| {
            let parts: Vec<&str> = rest.split('/').collect();
            let (repo, path) = parts.split_first().unwrap();
            (is_did(repo) || is_handle(repo))
                && match path {
                    [] => true,
                    [collection] => is_nsid(collection),
                    [collection, key] => is_nsid(collection) && is_key(key),
                    _ => false,
                }
        }),
        Some("at-identifier") => is_did(text) || is_handle(text),
        Some("did") => is_did(text),
        Some("handle") => is_handle(text),
        Some("nsid") => is_nsid(text),
        Some("record-key") => is_key(text),
        Some("cid") => (8..=256).contains(&text.len()) && text.chars().all(is_of("+=")),
        Some("language") => {
            let mut parts = text.split('-');
            let main = parts.next().unwrap();
            (2..=3).contains(&main.len())
                && main.chars().all(|c| c.is_ascii_lowercase())
                && parts.all(|part| (1..=8).contains(&part.len()) && part.chars().all(is_of("")))
        }
        Some(other) => panic!("{other}"),
    };
    if !fits {
        found.push(format!("{at}: {text:?} is no {}", schema["format"]));
    }
}

/// Letters, digits and these signs.
fn is_of(signs: &'static str) -> impl Fn(char) -> bool {
    move |c| c.is_ascii_alphanumeric() || signs.contains(c)
}

fn blob(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let media = value["mimeType"].as_str().unwrap_or_default();
    let accepts = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => media.starts_with(start),
        None => media == pattern,
    };
    let mut patterns = schema["accept"].as_array().into_iter().flatten();
    let only = |name: &String| ["$type", "ref", "mimeType", "size"].contains(&name.as_str());
    let whole = value["$type"] == "blob"
        && value.pointer("/ref/$link").is_some_and(Value::is_string)
        && value.as_object().is_some_and(|fields| fields.keys().all(only));
    let large = value["size"]
        .as_u64()
        .is_none_or(|size| schema["maxSize"].as_u64().is_some_and(|m| size > m));
    if !whole || large || !patterns.any(|pattern| accepts(pattern.as_str().unwrap())) {
        found.push(format!("{at}: {value} is not the blob that belongs there"));
    }
}

fn pictured(mut post: Post) -> Post {
    post.picture = Some(std::sync::Arc::new(Picture {
        bytes: vec![0xff, 0xd8, 0xff],
        media_type: "image/jpeg",
        width: 1200,
        height: 800,
        alt: "Karta över avspärrat område".to_owned(),
    }));
    post
}

fn place(rkey: &str) -> Value {
    json!({ "uri": format!("at://did:plc:abc/{POSTS}/{rkey}"), "cid": CID })
}

fn receipt(rkey: &str) -> Receipt {
    let mut receipt = Receipt::of(place(rkey)["uri"].as_str().unwrap());
    receipt.version = Some(CID.to_owned());
    receipt
}

fn found(value: &Value, rkey: &str) -> String {
    let mut body = place(rkey);
    body["value"] = value.clone();
    answer(200, &body.to_string())
}

/// A profile as a person may have filled it in.
fn profile() -> Value {
    let picture = json!({
        "$type": "blob", "ref": { "$link": CID }, "mimeType": "image/png", "size": 90_000,
    });
    json!({
        "$type": PROFILE, "displayName": "Nässjö kommun", "description": "Kommunens konto", "avatar": picture,
        "website": "https://nassjo.se", "pronouns": "vi", "createdAt": "2026-01-01T00:00:00.000Z",
    })
}

/// Every request with a body that the adapter makes in the course of everything that it can: the procedure and the body.
async fn everything_sent() -> Vec<(String, Value)> {
    let text =
        "Koka vattnet i Nässjö 🚰. Läs på https://nassjo.se/kris. /Nässjö kommun\nhttps://nassjo.se/kris";
    let made = answer(200, &place("3mabcdefghij2").to_string());
    let uploaded = json!({ "blob": {
        "$type": "blob", "ref": { "$link": CID }, "mimeType": "image/jpeg", "size": 3,
    } });
    let uploaded = answer(200, &uploaded.to_string());
    let first = record_of(&post("Koka vattnet. https://nassjo.se/kris"));
    let pinned = json!({ "$type": PROFILE, "pinnedPost": place("3mabcdefghij2") });
    let mut answered = post(text);
    answered.root = Some(receipt("3maaaaaaaaaa2"));
    answered.parent = Some(receipt("3mbbbbbbbbbb2"));
    let long = post(&format!(
        "Koka vattnet\n\n{}\n\nNässjö kommun\nhttps://nassjo.se/kris",
        "Det gäller hela orten. ".repeat(30).trim_end()
    ));
    let standing = receipt("3mabcdefghij2");

    let mut sent = Vec::new();
    for (post, answers) in [
        (post(text), vec![made.clone()]),
        (pictured(post(text)), vec![uploaded.clone(), made.clone()]),
        (answered, vec![made.clone()]),
        (long, vec![made.clone()]),
    ] {
        let server = Server::start([vec![session("1")], answers].concat()).await;
        open_long(&server, &secrets()).publish(&post).await.unwrap();
        sent.extend(bodies(&server));
    }
    let server = Server::start(vec![
        session("1"),
        uploaded,
        found(&first, "3mabcdefghij2"),
        made.clone(),
    ])
    .await;
    let account = open_long(&server, &secrets());
    account.edit(&standing, &pictured(post(text))).await.unwrap();
    sent.extend(bodies(&server));
    let pin = [
        found(&profile(), "self"),
        found(&first, "3mabcdefghij2"),
        made.clone(),
    ];
    let server = Server::start([vec![session("1")], pin.to_vec()].concat()).await;
    open_long(&server, &secrets()).pin(&standing).await.unwrap();
    sent.extend(bodies(&server));
    let server = Server::start(vec![session("1"), found(&pinned, "self"), made]).await;
    open_long(&server, &secrets()).unpin(&standing).await.unwrap();
    sent.extend(bodies(&server));
    let server = Server::start(vec![session("1"), answer(200, "{}")]).await;
    open_long(&server, &secrets()).retract(&standing).await.unwrap();
    sent.extend(bodies(&server));
    sent
}

fn record_of(post: &Post) -> Value {
    super::record::part(post, &post.rendering.text, None, Some(super::record::card(post))).unwrap()
}

/// The procedures that a server was asked for with JSON.
fn bodies(server: &Server) -> Vec<(String, Value)> {
    let asked = server.asked().into_iter();
    asked
        .filter_map(|asked| {
            let procedure = asked.line.strip_prefix("POST /xrpc/")?.to_owned();
            let is_json = asked
                .headers
                .get("content-type")
                .is_some_and(|kind| kind == "application/json");
            is_json.then(|| (procedure, asked.json()))
        })
        .collect()
}

#[tokio::test]
async fn everything_that_is_sent_fits_the_lexicons_and_the_wall_agrees() {
    let Some(lexicons) = Lexicons::at_hand() else {
        println!("skipped: the AT Protocol's lexicons are not at hand");
        return;
    };
    let sent = everything_sent().await;
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for (procedure, body) in &sent {
        assert_eq!(lexicons.input(procedure, body), Vec::<String>::new(), "{body:#}");
        let name = match body["collection"].as_str() {
            Some(collection) => format!("{procedure} {collection}"),
            None => procedure.clone(),
        };
        *seen.entry(name).or_default() += 1;
        match body["collection"].as_str() {
            Some(POSTS) if body.get("record").is_some() => assert_eq!(lexicon_fault(&body["record"]), None),
            Some(PROFILE) => assert_eq!(profile_lexicon_fault(&body["record"]), None),
            _ => {}
        }
    }
    // All of it was looked at: a log-in each time, a card, a picture, an answer, a thread, an edit, a pin, and the end.
    assert_eq!(seen["com.atproto.server.createSession"], 8);
    assert!(
        seen[&format!("com.atproto.repo.putRecord {POSTS}")] >= 6,
        "{seen:?}"
    );
    assert_eq!(seen[&format!("com.atproto.repo.putRecord {PROFILE}")], 2);
    assert_eq!(seen[&format!("com.atproto.repo.deleteRecord {POSTS}")], 1);
    let embeds = |kind: &str| {
        sent.iter()
            .filter(|(_, body)| body["record"]["embed"]["$type"] == kind)
            .count()
    };
    assert!(embeds("app.bsky.embed.external") >= 3 && embeds("app.bsky.embed.images") == 2);
}

/// A record with one thing in it changed, or taken out.
fn spoiled(record: &Value, at: &str, value: Option<Value>) -> Value {
    let mut record = record.clone();
    let (parent, name) = at.rsplit_once('/').unwrap();
    let parent = record.pointer_mut(parent).unwrap_or_else(|| panic!("{at}"));
    match (parent.as_array_mut(), value) {
        (Some(items), value) => items.push(value.unwrap_or_default()),
        (None, Some(value)) => parent[name] = value,
        (None, None) => {
            assert!(parent.as_object_mut().unwrap().remove(name).is_some(), "{at}");
        }
    }
    record
}

#[tokio::test]
async fn what_the_lexicons_refuse_the_wall_refuses_too() {
    let Some(lexicons) = Lexicons::at_hand() else {
        println!("skipped: the AT Protocol's lexicons are not at hand");
        return;
    };
    let sent = everything_sent().await;
    let with = |at: &str| {
        let records = sent.iter().map(|(_, body)| &body["record"]);
        let mut fitting = records.filter(|record| record.pointer(at).is_some());
        fitting.next().unwrap_or_else(|| panic!("{at}")).clone()
    };
    let (card, images, reply) = (with("/embed/external"), with("/embed/images"), with("/reply"));
    let profile = spoiled(&profile(), "/pinnedPost", Some(place("3mabcdefghij2")));
    let some = |value: Value| Some(value);
    let posts = [
        (&card, "/text", None),
        (&card, "/text", some(json!(1))),
        (&card, "/text", some(json!("å".repeat(301)))),
        (&card, "/text", some(json!("👨‍👩‍👧‍👦".repeat(121)))),
        (&card, "/createdAt", None),
        (&card, "/createdAt", some(json!("2026-11-23"))),
        (&card, "/$type", some(json!("app.bsky.feed.like"))),
        (&card, "/langs", some(json!(["sv", "en", "fi", "de"]))),
        (&card, "/langs", some(json!(["svenska språket"]))),
        (&card, "/langs", some(json!("sv"))),
        (
            &card,
            "/tags",
            some(json!(["a", "b", "c", "d", "e", "f", "g", "h", "i"])),
        ),
        (&card, "/tags", some(json!(["å".repeat(65)]))),
        (&card, "/colour", some(json!("red"))),
        (&card, "/facets/0/index/byteStart", None),
        (&card, "/facets/0/index/byteEnd", some(json!(-1))),
        (&card, "/facets/0/index/charStart", some(json!(1))),
        (&card, "/facets/0/features/0/uri", None),
        (&card, "/facets/0/features/0/uri", some(json!("nassjo.se/kris"))),
        (
            &card,
            "/facets/0/features/0/$type",
            some(json!("app.bsky.richtext.facet#bold")),
        ),
        (
            &card,
            "/facets/0/features/0",
            some(json!({ "$type": "app.bsky.richtext.facet#mention" })),
        ),
        (
            &card,
            "/facets/0/features/0",
            some(json!({ "$type": "app.bsky.richtext.facet#tag", "tag": 1 })),
        ),
        (&card, "/facets/0/features", None),
        (&card, "/embed/external/description", None),
        (&card, "/embed/external/title", some(json!(null))),
        (&card, "/embed/external/uri", some(json!("kris"))),
        (&card, "/embed/external/size", some(json!(1))),
        (&card, "/embed/external/thumb", some(json!("a.jpg"))),
        (&card, "/embed/$type", some(json!("app.bsky.embed.poll"))),
        (&card, "/embed/$type", None),
        (&images, "/embed/images/0/alt", None),
        (&images, "/embed/images/0/image", None),
        (&images, "/embed/images/0/image/size", some(json!(2_000_001))),
        (
            &images,
            "/embed/images/0/image/mimeType",
            some(json!("video/mp4")),
        ),
        (&images, "/embed/images/0/image/ref", some(json!({ "link": CID }))),
        (&images, "/embed/images/0/image/$type", some(json!("file"))),
        (&images, "/embed/images/0/aspectRatio/width", some(json!(0))),
        (&images, "/embed/images/0/aspectRatio/height", None),
        (
            &images,
            "/embed/images",
            some(json!(vec![images.pointer("/embed/images/0"); 5])),
        ),
        (&reply, "/reply/parent", None),
        (&reply, "/reply/root/cid", None),
        (&reply, "/reply/root/cid", some(json!("kort"))),
        (
            &reply,
            "/reply/root/uri",
            some(json!("https://bsky.app/profile/nassjo.se")),
        ),
        (&reply, "/reply/parent/uri", some(json!("at://"))),
        (&reply, "/reply/via", some(json!("x"))),
    ];
    for (record, at, value) in posts {
        let wrong = spoiled(record, at, value.clone());
        assert_ne!(
            lexicons.record(POSTS, &wrong),
            Vec::<String>::new(),
            "{at} {value:?}"
        );
        assert!(lexicon_fault(&wrong).is_some(), "the wall takes {at} {value:?}");
    }
    let profiles = [
        ("/$type", some(json!(POSTS))),
        ("/displayName", some(json!("å".repeat(65)))),
        ("/displayName", some(json!(1))),
        ("/description", some(json!("å".repeat(257)))),
        ("/pronouns", some(json!("å".repeat(21)))),
        ("/website", some(json!("nassjo"))),
        ("/createdAt", some(json!("igår"))),
        ("/avatar/size", some(json!(1_000_001))),
        ("/avatar/mimeType", some(json!("image/webp"))),
        ("/pinnedPost/cid", None),
        ("/pinnedPost/uri", some(json!("bsky.app"))),
        ("/pinnedPosts", some(json!([]))),
    ];
    assert_eq!(lexicons.record(PROFILE, &profile), Vec::<String>::new());
    assert_eq!(profile_lexicon_fault(&profile), None);
    for (at, value) in profiles {
        let wrong = spoiled(&profile, at, value.clone());
        assert_ne!(
            lexicons.record(PROFILE, &wrong),
            Vec::<String>::new(),
            "{at} {value:?}"
        );
        assert!(
            profile_lexicon_fault(&wrong).is_some(),
            "the wall takes {at} {value:?}"
        );
    }
    // The measure of the calls themselves.
    let call = |name: &str| {
        let name = format!("com.atproto.{name}");
        let found = sent.iter().find(|(procedure, _)| *procedure == name).unwrap();
        found.clone()
    };
    for (call, at, value) in [
        ("repo.putRecord", "/repo", some(json!("Nässjö kommun"))),
        ("repo.putRecord", "/collection", some(json!("posts"))),
        ("repo.putRecord", "/rkey", some(json!("en nyckel"))),
        ("repo.putRecord", "/rkey", some(json!("self"))),
        ("repo.putRecord", "/swapRecord", some(json!(1))),
        ("repo.putRecord", "/swapCommit", some(json!(null))),
        ("repo.putRecord", "/validate", some(json!("yes"))),
        ("repo.putRecord", "/record", None),
        ("repo.deleteRecord", "/rkey", None),
        ("repo.deleteRecord", "/force", some(json!(true))),
        ("server.createSession", "/password", None),
    ]
    .map(|(name, at, value)| (call(name), at, value))
    {
        let (procedure, body) = call;
        let wrong = spoiled(&body, at, value.clone());
        if at == "/collection" {
            let mut found = Vec::new();
            let (definition, nsid) = lexicons.definition(&procedure, "").unwrap();
            lexicons.misfits(&nsid, &definition["input"]["schema"], &wrong, "", &mut found);
            assert_ne!(found, Vec::<String>::new());
        } else {
            assert_ne!(
                lexicons.input(&procedure, &wrong),
                Vec::<String>::new(),
                "{procedure} {at}"
            );
        }
    }
}
