//! What a channel tells of its account: who it is, until when and for what the credential is good, what is wrong, how
//! readers find it; and that a message backstage never stands where the public looks.

use std::collections::BTreeSet;
use std::time::Duration;

use sha2::{Digest, Sha256};
use vardkase::channel::{Kind, Transport};
use vardkase::clock::{Clock, SystemClock, Timestamp, later};
use vardkase::model::{Identity, SendError};
use vardkase::wall::{Guise, Other};

use super::lab::{self, Lab};
use super::{NOT_HERE, PATIENCE, Verdict, channels, ensure};

/// Whose service names no account: a webhook, a folder, a relay.
const NAMELESS: &[&str] = &[
    "email",
    "file",
    "http-json",
    "manual",
    "mattermost",
    "ntfy",
    "slack",
    "teams",
    "webhook",
];
/// Whose credential has an end that can be asked for.
const ENDING: &[&str] = &[
    "bluesky",
    "facebook-page",
    "instagram",
    "linkedin",
    "threads",
    "whatsapp",
];
/// Whose service tells what the credential may.
const OPEN: &[&str] = &[
    "bluesky",
    "facebook-page",
    "instagram",
    "linkedin",
    "mastodon",
    "matrix",
    "telegram",
    "threads",
    "whatsapp",
    "wordpress",
    "x",
];
/// Whose picture anybody gets without logging in.
const PICTURED: &[&str] = &[
    "bluesky",
    "facebook-page",
    "instagram",
    "mastodon",
    "threads",
    "whatsapp",
    "wordpress",
    "x",
];
/// Whose followers are counted in the open.
const COUNTED: &[&str] = &[
    "bluesky",
    "facebook-page",
    "instagram",
    "linkedin",
    "mastodon",
    "matrix",
    "telegram",
    "x",
];
const ABOUT: &str = "Nässjö kommun svarar 0380-51 80 00, https://nassjo.se";
const AVATAR: &[u8] = b"\x89PNG\r\n\x1a\nkommunens vapen";

/// What gives an account a place that only we see.
fn backstage_keys(kind: &Kind) -> &'static str {
    match kind.id {
        "email" => "backstage_to = \"prov@nassjo.se\"",
        "matrix" => "backstage_room = \"!prov:nassjo.se\"",
        "ntfy" => "backstage_topic = \"nassjo-prov\"",
        "telegram" => "backstage_chat = \"-1007001\"",
        _ => "",
    }
}

async fn verified(lab: &Lab) -> Result<Identity, String> {
    lab.channel.verify().await.map_err(|error| error.to_string())
}

pub async fn tells_id(http: &Transport, kind: &'static Kind) -> Verdict {
    let lab = Lab::open(kind, http).await;
    let first = verified(&lab).await?.id;
    if NAMELESS.contains(&kind.id) {
        ensure(first.is_none(), || format!("told {first:?}"))?;
        return Ok(NOT_HERE.into());
    }
    ensure(first.as_ref().is_some_and(|id| !id.is_empty()), || "no id".into())?;
    ensure(verified(&lab).await?.id == first, || {
        "another id each time".into()
    })?;
    Ok("ok".into())
}

pub async fn tells_end(http: &Transport, kind: &'static Kind) -> Verdict {
    let lab = Lab::open(kind, http).await;
    let ends = later(SystemClock.now(), Duration::from_hours(40 * 24));
    let ends = Timestamp::from_second(ends.as_second()).unwrap();
    lab.guise(Guise {
        expires_at: Some(ends),
        ..Guise::default()
    });
    let told = verified(&lab).await?.expires_at;
    if !ENDING.contains(&kind.id) {
        ensure(told.is_none(), || format!("told {told:?}"))?;
        return Ok(NOT_HERE.into());
    }
    // The end of a Bluesky session is in the session itself.
    let holds = if kind.id == "bluesky" {
        told.is_some()
    } else {
        told == Some(ends)
    };
    ensure(holds, || format!("told {told:?}, not {ends}"))?;
    Ok("ok".into())
}

pub async fn tells_rights(http: &Transport, kind: &'static Kind) -> Verdict {
    let lab = Lab::open(kind, http).await;
    let told = verified(&lab).await?;
    if !OPEN.contains(&kind.id) {
        ensure(told.rights.is_none(), || format!("told {:?}", told.rights))?;
        return Ok(NOT_HERE.into());
    }
    let rights = told.rights.ok_or("no rights")?;
    ensure(
        !rights.held.is_empty() && rights.missing.is_empty() && rights.surplus.is_empty(),
        || format!("{rights:?}"),
    )?;
    ensure(told.flaws.is_empty(), || {
        format!("in good order, but {:?}", told.flaws)
    })?;
    Ok("ok".into())
}

pub async fn profile(http: &Transport, kind: &'static Kind) -> Verdict {
    let lab = Lab::open(kind, http).await;
    let now = SystemClock.now();
    let other = Other {
        id: if kind.id == "bluesky" {
            "3mabcdefghij2"
        } else {
            "990077"
        }
        .to_owned(),
        text: "Inte från kommunen".to_owned(),
        at: later(now, Duration::from_mins(10)),
        by: Some("Någon annan".to_owned()),
    };
    lab.guise(Guise {
        about: Some(ABOUT.to_owned()),
        avatar: Some(AVATAR.to_vec()),
        followers: Some(321),
        others: vec![other],
        ..Guise::default()
    });
    if !kind.can.profile {
        let read = lab.channel.profile().await;
        ensure(matches!(read, Ok(None)), || format!("{read:?}"))?;
        return Ok(NOT_HERE.into());
    }
    let published = lab.publish(&lab.post(), PATIENCE).await;
    let published = published.map_err(|error| format!("did not publish: {error}"))?;
    let ledger = lab.wall.ledger();
    let profile = lab.channel.profile().await.map_err(|error| error.to_string())?;
    let profile = profile.ok_or("no profile")?;
    ensure(!profile.name.is_empty(), || "it has no name".into())?;
    ensure(profile.texts.iter().any(|text| text.contains(ABOUT)), || {
        format!("{:?}", profile.texts)
    })?;
    let link = profile
        .links
        .iter()
        .any(|link| link.as_str().starts_with("https://nassjo.se"));
    ensure(link, || format!("{:?}", profile.links))?;
    let picture = PICTURED
        .contains(&kind.id)
        .then(|| hex::encode(Sha256::digest(AVATAR)));
    ensure(profile.picture == picture, || {
        format!("picture {:?}", profile.picture)
    })?;
    let followers = COUNTED.contains(&kind.id).then_some(321);
    ensure(profile.followers == followers, || {
        format!("followers {:?}", profile.followers)
    })?;
    // A number of templates stands nowhere: there is nothing to list.
    if kind.id != "whatsapp" {
        let ids: Vec<&str> = profile
            .latest
            .iter()
            .map(|post| post.remote_id.as_str())
            .collect();
        let ours = published.remote_id.as_str();
        ensure(ids.get(1) == Some(&ours), || format!("{ids:?}, ours is {ours}"))?;
        ensure(
            ids[0].contains("990077") || ids[0].contains("3mabcdefghij2"),
            || format!("{ids:?}"),
        )?;
    }
    ensure(lab.wall.ledger() == ledger, || {
        "reading changed the ledger".into()
    })?;
    Ok("ok".into())
}

pub async fn backstage(http: &Transport, kind: &'static Kind) -> Verdict {
    let keys = backstage_keys(kind);
    let lab = Lab::open_with(kind, http, keys)
        .await
        .ok_or("its keys are not read")?;
    if !kind.can.backstage {
        let refused = lab.channel.backstage(&lab.post()).await.unwrap_err();
        ensure(refused.reason().code == "no-backstage", || refused.to_string())?;
        return Ok(NOT_HERE.into());
    }
    ensure(lab.settings.backstage() != Some(false), || {
        "it has no place".into()
    })?;
    let done = lab.channel.backstage(&lab.post()).await;
    let done = done.map_err(|error| error.to_string())?;
    // A ledger forgets nothing: what had stood there for a moment would still be in it.
    let ledger = lab.wall.ledger();
    ensure(ledger.is_empty(), || format!("it stood in public: {ledger:?}"))?;
    let behind = lab.wall.backstage();
    let left = behind.iter().filter(|posted| posted.deleted_at.is_none()).count();
    ensure(!done.removed || left == 0, || format!("{left} were left behind"))?;
    // Without such a place it says what to set, and nothing goes out.
    if !keys.is_empty() {
        let lab = Lab::open(kind, http).await;
        ensure(lab.settings.backstage() == Some(false), || {
            "it has a place unasked".into()
        })?;
        let refused = lab.channel.backstage(&lab.post()).await.unwrap_err();
        ensure(refused.reason().code == "no-backstage", || refused.to_string())?;
        ensure(refused.reason().text.contains("set `backstage_"), || {
            refused.to_string()
        })?;
        ensure(lab.seen().is_empty(), || "it asked the service".into())?;
    }
    let read = if done.read_back { "read" } else { "not read" };
    let gone = if done.removed { "" } else { ", stays" };
    Ok(format!("ok ({read}{gone})"))
}

/// What a verification under a guise comes to.
enum Told {
    /// The credential is refused, with this code.
    Credential(&'static str),
    /// Refused, with this code.
    Refused(&'static str),
    /// It answers, with this flaw.
    Flaw(&'static str),
    /// It answers, as another account.
    Id(&'static str),
}

fn guise() -> Guise {
    Guise::default()
}

fn revoked() -> Guise {
    Guise {
        revoked: true,
        ..guise()
    }
}

fn expired() -> Guise {
    Guise {
        expires_at: Some(Timestamp::UNIX_EPOCH),
        ..guise()
    }
}

fn scopes(scopes: &[&str]) -> Guise {
    Guise {
        scopes: Some(scopes.iter().map(|scope| (*scope).to_owned()).collect()),
        ..guise()
    }
}

fn marked(mark: &str) -> Guise {
    Guise {
        marks: BTreeSet::from([mark.to_owned()]),
        ..guise()
    }
}

fn role(role: &str) -> Guise {
    Guise {
        role: Some(role.to_owned()),
        ..guise()
    }
}

fn id(id: &str) -> Guise {
    Guise {
        id: Some(id.to_owned()),
        ..guise()
    }
}

fn cases() -> Vec<(&'static str, Guise, Told)> {
    use Told::{Credential, Flaw, Id, Refused};
    let posting = &["w_organization_social", "rw_organization_admin"][..];
    let threads = &[
        "threads_basic",
        "threads_content_publish",
        "threads_manage_replies",
        "threads_read_replies",
    ][..];
    vec![
        ("mastodon", revoked(), Credential("http-401")),
        ("mastodon", expired(), Credential("http-401")),
        ("mastodon", scopes(&["read", "write:media"]), Refused("scope")),
        (
            "mastodon",
            scopes(&["read", "write:statuses"]),
            Flaw("missing-right"),
        ),
        ("mastodon", marked("suspended"), Flaw("suspended")),
        ("mastodon", marked("limited"), Flaw("limited")),
        ("mastodon", id("77"), Id("77")),
        ("facebook-page", revoked(), Credential("graph-190-458")),
        ("facebook-page", expired(), Credential("graph-190-463")),
        (
            "facebook-page",
            scopes(&["pages_read_engagement"]),
            Refused("scope"),
        ),
        (
            "facebook-page",
            scopes(&["pages_manage_posts"]),
            Flaw("missing-right"),
        ),
        ("facebook-page", marked("elsewhere"), Refused("scope")),
        ("facebook-page", marked("unpublished"), Flaw("unpublished")),
        ("facebook-page", marked("data-access"), Flaw("data-access")),
        ("facebook-page", id("77"), Refused("wrong-token")),
        ("instagram", expired(), Credential("graph-190-463")),
        ("instagram", scopes(&["instagram_basic"]), Refused("graph-200")),
        ("instagram", marked("unpublished"), Flaw("unpublished")),
        ("instagram", id("77"), Refused("wrong-token")),
        ("threads", revoked(), Credential("graph-190-458")),
        ("threads", scopes(&["threads_basic"]), Refused("graph-200")),
        ("threads", scopes(threads), Flaw("missing-right")),
        ("threads", id("77"), Refused("wrong-token")),
        (
            "linkedin",
            revoked(),
            Credential("linkedin-401-revoked-access-token"),
        ),
        ("linkedin", role("NONE"), Refused("no-role")),
        ("linkedin", scopes(&["rw_organization_admin"]), Refused("scope")),
        ("linkedin", scopes(posting), Flaw("missing-right")),
        ("x", revoked(), Credential("http-401")),
        ("x", scopes(&["read"]), Refused("scope")),
        ("x", marked("protected"), Flaw("protected")),
        ("x", id("77"), Refused("wrong-token")),
        (
            "bluesky",
            revoked(),
            Credential("bluesky-401-AuthenticationRequired"),
        ),
        ("bluesky", marked("takendown"), Credential("bluesky-inactive")),
        ("bluesky", marked("handle.invalid"), Flaw("handle-invalid")),
        ("bluesky", id("did:plc:annan"), Id("did:plc:annan")),
        ("telegram", revoked(), Credential("telegram-401")),
        ("telegram", role("left"), Refused("telegram-403")),
        ("telegram", scopes(&["can_edit_messages"]), Refused("rights")),
        (
            "telegram",
            scopes(&["can_post_messages", "can_delete_messages"]),
            Flaw("missing-right"),
        ),
        ("telegram", marked("private"), Flaw("private")),
        ("telegram", id("-1009999"), Id("-1009999")),
        ("matrix", revoked(), Credential("M_UNKNOWN_TOKEN")),
        ("matrix", role("0"), Refused("no-power")),
        ("matrix", role("50"), Flaw("missing-right")),
        ("matrix", marked("encrypted"), Refused("encrypted-room")),
        ("matrix", marked("invite"), Flaw("not-public")),
        ("matrix", id("@annan:ovning"), Id("@annan:ovning")),
        ("wordpress", revoked(), Credential("http-401")),
        ("wordpress", scopes(&["edit_pages"]), Refused("role")),
        (
            "wordpress",
            scopes(&["publish_pages", "edit_published_pages", "delete_published_pages"]),
            Flaw("missing-right"),
        ),
        ("wordpress", id("8"), Id("8")),
        ("whatsapp", revoked(), Credential("whatsapp-190")),
        ("whatsapp", marked("BLOCKED"), Credential("blocked")),
        ("whatsapp", marked("RED"), Flaw("quality-red")),
        ("whatsapp", marked("LIMITED"), Flaw("limited")),
        ("whatsapp", marked("PAUSED"), Refused("template")),
        ("whatsapp", marked("REJECTED"), Refused("template")),
        ("whatsapp", marked("MARKETING"), Flaw("template-category")),
        ("sms-46elks", revoked(), Credential("http-401")),
        ("sms-46elks", marked("empty"), Credential("no-credit")),
        ("sms-46elks", marked("poor"), Flaw("low-balance")),
        ("sms-46elks", id("u77"), Id("7fe362c5210f537f")),
        ("slack", revoked(), Credential("slack-no_service")),
        (
            "mattermost",
            revoked(),
            Credential("web.incoming_webhook.invalid.app_error"),
        ),
        ("teams", revoked(), Credential("WorkflowNotFound")),
        ("discord", revoked(), Credential("discord-10015")),
        ("discord", id("1100000000000000077"), Id("1100000000000000077")),
        ("ntfy", revoked(), Credential("ntfy-40101")),
        ("ntfy", marked("write-only"), Flaw("may-not-read")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_thing_that_can_be_wrong_with_an_account_is_told_by_its_code_and_without_a_secret() {
    let http = lab::transport();
    let mut wrong = Vec::new();
    for (kind, guise, told) in cases() {
        let kind = channels().find(|one| one.id == kind).unwrap();
        // The template is looked at where it is known whose it is.
        let keys = if kind.id == "whatsapp" {
            "business_account_id = \"1066\""
        } else {
            ""
        };
        let lab = Lab::open_with(kind, &http, keys).await.unwrap();
        let about = format!("{}: {guise:?}", kind.id);
        lab.guise(guise);
        let outcome = lab.channel.verify().await;
        let shown = format!("{outcome:?}");
        for canary in lab.canaries() {
            assert!(!shown.contains(&canary), "{about}: {shown}");
        }
        let holds = match (&told, &outcome) {
            (Told::Credential(code), Err(SendError::Credential(reason)))
            | (Told::Refused(code), Err(SendError::Refused(reason))) => reason.code == *code,
            (Told::Flaw(code), Ok(identity)) => {
                !identity.flaws.is_empty() && identity.flaws.iter().all(|flaw| flaw.code == *code)
            }
            (Told::Id(id), Ok(identity)) => identity.id.as_deref() == Some(*id),
            _ => false,
        };
        if !holds {
            wrong.push(format!("{about}: {shown}"));
        }
        assert!(
            lab.wall.ledger().is_empty(),
            "{about}: verifying publishes nothing"
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_webhook_that_posts_in_the_public_channel_is_no_place_backstage() {
    let http = lab::transport();
    let kind = channels().find(|kind| kind.id == "discord").unwrap();
    let lab = Lab::open(kind, &http).await;
    lab.guise(marked("same-channel"));
    let refused = lab.channel.backstage(&lab.post()).await.unwrap_err();
    assert_eq!(refused.reason().code, "backstage-is-public");
    assert!(lab.wall.ledger().is_empty() && lab.wall.backstage().is_empty());
}

#[tokio::test]
async fn a_token_about_to_end_is_renewed_when_the_account_is_verified() {
    let http = lab::transport();
    let kind = channels().find(|kind| kind.id == "linkedin").unwrap();
    let lab = Lab::open(kind, &http).await;
    lab.guise(Guise {
        expires_at: Some(later(SystemClock.now(), Duration::from_hours(3 * 24))),
        ..guise()
    });
    let before = lab.parts.secrets.get("session").is_some();
    let identity = lab.channel.verify().await.unwrap();
    assert!(
        !before && lab.parts.secrets.get("session").is_some(),
        "the new token is on disk"
    );
    let in_a_month = later(SystemClock.now(), Duration::from_hours(30 * 24));
    assert!(identity.expires_at.unwrap() > in_a_month);
}
