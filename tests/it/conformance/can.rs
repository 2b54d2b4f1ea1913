//! What only some channels can: each is held to what its table of capabilities, or its account's own keys, promise.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use vardkase::channel::{Kind, Transport};
use vardkase::clock::{Clock, SystemClock, later};
use vardkase::model::{Kind as Does, Picture, Post, Receipt, SendError, Settled};
use vardkase::wall::{CutAt, How};

use super::lab::{LETTERS, LINK, Lab, SENDER};
use super::{NOT_HERE, PATIENCE, Verdict, ensure, published, small_picture};

/// What makes an account of any kind do all that its kind can: pictures where a folder is needed for them.
const PICTURES: &str = "public_folder = \"/srv/bilder\"\npublic_url = \"https://nassjo.se/bilder\"";
const THREAD: &str = "long = \"thread\"";
const ANSWERS: &str = "thread = true";
pub const CORRECTED: &str = "Det gäller Malmbäck, inte Forserum";

/// The same message with other words, as a delivery of its own.
pub fn correction(lab: &Lab) -> Post {
    let mut post = lab.post();
    post.kind = Does::Correction;
    post.rendering.text = format!("ÖVNING: {CORRECTED}.\n\n{SENDER}\n{LINK}");
    post
}

pub async fn edits(http: &Transport, kind: &'static Kind) -> Verdict {
    if !kind.can.edit {
        return Ok(NOT_HERE.into());
    }
    let (lab, _, receipt) = published(http, kind).await?;
    let correction = correction(&lab);
    let mut changed = receipt.clone();
    for time in ["once", "again"] {
        changed = lab
            .channel
            .edit(&receipt, &correction)
            .await
            .map_err(|error| format!("{time}: {error}"))?;
        let standing = lab.standing();
        ensure(standing.len() == 1, || {
            format!("{time}: {} posts stand", standing.len())
        })?;
        let text = &standing[0].text;
        ensure(text.contains(CORRECTED) && !text.contains(LETTERS), || {
            format!("{time}: it says {text:?}")
        })?;
    }
    if kind.can.retract {
        let gone = lab.channel.retract(&changed).await;
        gone.map_err(|error| format!("could not be taken away: {error}"))?;
        ensure(lab.standing().is_empty(), || {
            "what was changed still stands".into()
        })?;
    }
    Ok("ok".into())
}

pub async fn pins(http: &Transport, kind: &'static Kind) -> Verdict {
    if !kind.can.pin {
        return Ok(NOT_HERE.into());
    }
    let (lab, _, receipt) = published(http, kind).await?;
    for (pinned, time) in [(true, "once"), (true, "again"), (false, "once"), (false, "again")] {
        let done = if pinned {
            lab.channel.pin(&receipt).await
        } else {
            lab.channel.unpin(&receipt).await
        };
        done.map_err(|error| format!("pinned {pinned}, {time}: {error}"))?;
        ensure(lab.standing()[0].pinned == pinned, || {
            format!("pinned {pinned}, {time}: the ledger says otherwise")
        })?;
    }
    Ok("ok".into())
}

pub async fn answers(http: &Transport, kind: &'static Kind) -> Verdict {
    if !kind.can.thread {
        return Ok(NOT_HERE.into());
    }
    // Some do it only where they are told to.
    let lab = match Lab::open_with(kind, http, ANSWERS).await {
        Some(lab) => lab,
        None => Lab::open(kind, http).await,
    };
    let first = lab.publish(&lab.post(), PATIENCE).await;
    let first = first.map_err(|error| format!("did not publish: {error}"))?;
    let mut update = correction(&lab);
    update.kind = Does::Update;
    update.root = Some(first.clone());
    update.parent = Some(first.clone());
    let sent = lab.publish(&update, PATIENCE).await;
    sent.map_err(|error| format!("the answer: {error}"))?;
    let standing = lab.standing();
    ensure(standing.len() == 2, || format!("{} posts stand", standing.len()))?;
    let under = standing[1].in_reply_to.as_ref();
    // A mail is known by its Message-ID, a receiver that names no id by our key.
    let ids = [&first.remote_id, &standing[0].remote_id];
    ensure(under.is_some_and(|under| ids.contains(&under)), || {
        format!("it stands under {under:?}")
    })?;
    Ok("ok".into())
}

/// An account that takes pictures, with one message that has one; `None` if no such account can be.
async fn pictured(http: &Transport, kind: &'static Kind) -> Option<(Lab, Post)> {
    let lab = match Lab::open_with(kind, http, PICTURES).await {
        Some(lab) => lab,
        None => Lab::open(kind, http).await,
    };
    lab.settings.picture_rule()?;
    let post = Post {
        picture: Some(small_picture()),
        ..lab.post()
    };
    Some((lab, post))
}

/// Whether what residents read is there once, and with how many pictures.
fn shown(lab: &Lab) -> Result<usize, String> {
    let standing = lab.standing();
    let texts = standing
        .iter()
        .filter(|posted| posted.text.contains(LETTERS))
        .count();
    ensure(texts == 1, || format!("the text stands {texts} times"))?;
    Ok(standing.iter().map(|posted| posted.pictures.len()).sum())
}

pub async fn shows(http: &Transport, kind: &'static Kind) -> Verdict {
    let Some((lab, post)) = pictured(http, kind).await else {
        return Ok(NOT_HERE.into());
    };
    let receipt = lab
        .publish(&post, PATIENCE)
        .await
        .map_err(|error| error.to_string())?;
    let pictures = shown(&lab)?;
    ensure(pictures == 1, || {
        format!("{pictures} pictures stand; {:?}", receipt.note)
    })?;
    let alt = &small_picture().alt;
    let standing = lab.standing();
    let told = |posted: &vardkase::wall::Posted| {
        posted.text.contains(alt) || posted.pictures.iter().any(|picture| picture.alt == *alt)
    };
    ensure(standing.iter().any(told), || "its words are not told".into())?;
    let says_missing = receipt.note.as_ref().is_some_and(|note| note.contains("picture"));
    ensure(!says_missing, || {
        format!("it stands, and yet: {:?}", receipt.note)
    })?;
    Ok("ok".into())
}

/// Another picture than [`small_picture`].
fn other_picture() -> Arc<Picture> {
    static PICTURE: OnceLock<Arc<Picture>> = OnceLock::new();
    let made = PICTURE.get_or_init(|| {
        let mut bytes = Vec::new();
        image::RgbImage::from_pixel(320, 320, image::Rgb([200, 30, 30]))
            .write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Jpeg)
            .unwrap();
        Arc::new(Picture {
            bytes,
            alt: "En röd ruta".to_owned(),
            ..(*small_picture()).clone()
        })
    });
    Arc::clone(made)
}

/// A correction that brings a picture puts it in the place of the earlier one, or says that it did not.
pub async fn exchanges(http: &Transport, kind: &'static Kind) -> Verdict {
    let Some((lab, post)) = pictured(http, kind).await.filter(|_| kind.can.edit) else {
        return Ok(NOT_HERE.into());
    };
    let receipt = lab
        .publish(&post, PATIENCE)
        .await
        .map_err(|error| error.to_string())?;
    let mut correction = correction(&lab);
    correction.picture = Some(other_picture());
    for time in ["once", "again"] {
        let changed = lab.channel.edit(&receipt, &correction).await;
        let changed = changed.map_err(|error| format!("{time}: {error}"))?;
        let standing = lab.standing();
        let pictures: Vec<_> = standing.iter().flat_map(|posted| &posted.pictures).collect();
        ensure(pictures.len() == 1, || {
            format!("{time}: {} pictures stand", pictures.len())
        })?;
        let is_new = pictures[0].bytes == other_picture().bytes;
        ensure(is_new == kind.changes_picture(), || {
            format!("{time}: the new one stands: {is_new}")
        })?;
        let says_kept = changed
            .note
            .as_ref()
            .is_some_and(|note| note.contains("keeps its earlier picture"));
        ensure(says_kept != is_new, || {
            format!("{time}: the note is {:?}", changed.note)
        })?;
        // Where the description stands in the text, it is that of the picture that stands.
        let tells = |alt: &str| standing.iter().any(|posted| posted.text.contains(alt));
        let wrong = if is_new {
            &small_picture().alt
        } else {
            &other_picture().alt
        };
        ensure(!tells(wrong), || {
            format!("{time}: it describes the other picture")
        })?;
    }
    Ok(if kind.changes_picture() {
        "ok"
    } else {
        "ok (stays)"
    }
    .into())
}

/// Each request of an exchange with a picture is refused, and then each of those after it loses its answer: the text
/// stands once, and where it stands alone the receipt says so.
pub async fn fails(http: &Transport, kind: &'static Kind) -> Verdict {
    let Some((lab, post)) = pictured(http, kind).await else {
        return Ok(NOT_HERE.into());
    };
    if lab.settings.picture_rule().is_some_and(|rule| rule.required) {
        return Ok("needs one".into());
    }
    lab.publish(&post, PATIENCE)
        .await
        .map_err(|error| error.to_string())?;
    let requests = lab.seen().len();
    let (mut alone, mut count) = (0, 0);
    for refused in 0..requests {
        for lost in (refused + 1..=requests + 1).map(Some).chain([None]) {
            let Some((lab, post)) = pictured(http, kind).await else {
                return Ok(NOT_HERE.into());
            };
            let how = How::Answer {
                status: 400,
                headers: Vec::new(),
                body: Some("{}".to_owned()),
            };
            lab.strike(refused, how);
            if let Some(lost) = lost {
                lab.strike(lost, How::DoneThenCut(CutAt::Reset));
            }
            count += 1;
            let about = |wrong: String| format!("refused {refused}, lost {lost:?}: {wrong}");
            let Some(receipt) = at_last(&lab, &post).await.map_err(about)? else {
                continue;
            };
            if shown(&lab).map_err(about)? == 0 {
                alone += 1;
                let says = receipt.note.as_ref().is_some_and(|note| note.contains("picture"));
                ensure(says, || {
                    about(format!(
                        "it stands alone, and the receipt says {:?}",
                        receipt.note
                    ))
                })?;
            }
        }
    }
    ensure(alone > 0, || "no picture ever failed".into())?;
    Ok(format!("ok ({alone}/{count})"))
}

/// Goes on as the dispatcher does until there is a receipt; `None` if a person is asked.
async fn at_last(lab: &Lab, post: &Post) -> Result<Option<Receipt>, String> {
    let since = SystemClock.now();
    let mut last = String::new();
    for minutes in [0, 2, 5, 10, 15, 20] {
        match lab.publish(post, PATIENCE).await {
            Ok(receipt) => return Ok(Some(receipt)),
            Err(SendError::Refused(_) | SendError::Credential(_)) => return Ok(None),
            Err(error @ (SendError::NotSent(_) | SendError::Busy { .. })) => last = error.to_string(),
            Err(SendError::Unknown(_)) => {
                let now = later(SystemClock.now(), Duration::from_mins(minutes + 10));
                match lab.settle(post, since, now).await {
                    Ok(Settled::Found(receipt)) => return Ok(Some(receipt)),
                    Ok(Settled::Refused(_) | Settled::Unclear(_)) => return Ok(None),
                    Ok(Settled::Absent) => {}
                    Err(error) => last = error.to_string(),
                }
            }
        }
    }
    Err(format!("it never gets through: {last}"))
}

pub async fn threads(http: &Transport, kind: &'static Kind) -> Verdict {
    let Some(lab) = Lab::open_with(kind, http, THREAD).await else {
        return Ok(NOT_HERE.into());
    };
    ensure(lab.settings.parts() > 1, || {
        "it takes the key and makes no thread".into()
    })?;
    let mut post = lab.post();
    let long = "Vattnet i hela tätorten ska kokas innan det dricks eller används i mat. ".repeat(14);
    post.rendering.text = format!("ÖVNING: {LETTERS}.\n\n{}\n\n{SENDER}\n{LINK}", long.trim());
    let receipt = lab
        .publish(&post, PATIENCE)
        .await
        .map_err(|error| error.to_string())?;
    let standing = lab.standing();
    ensure(standing.len() > 1, || "one post stands".into())?;
    ensure(standing[0].remote_id == receipt.remote_id, || {
        format!("{:?} is not the first part", receipt.remote_id)
    })?;
    for pair in standing.windows(2) {
        ensure(pair[1].in_reply_to.as_ref() == Some(&pair[0].remote_id), || {
            format!("{:?} does not stand under the part before", pair[1].text)
        })?;
    }
    let whole: Vec<&str> = standing.iter().map(|posted| posted.text.as_str()).collect();
    let whole = whole.join(" ");
    for needed in [LETTERS, SENDER, LINK] {
        ensure(whole.contains(needed), || {
            format!("{needed:?} is in none of the parts")
        })?;
    }
    ensure(whole.matches("ska kokas").count() == 14, || {
        format!("words are lost: {whole}")
    })?;
    lab.channel
        .retract(&receipt)
        .await
        .map_err(|error| error.to_string())?;
    ensure(lab.standing().is_empty(), || "a part still stands".into())?;
    Ok(format!("ok ({})", standing.len()))
}
