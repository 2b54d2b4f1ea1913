//! A long text as a thread: each part is a post under a key of its own, and its id is on disk before the next one goes.

use crate::clock::Timestamp;
use crate::model::{Post, Reason, Receipt, SendError, Steps};

/// The step that is made before the first part goes: when that was. An attempt that finds it is not the first.
const BEGUN: &str = "thread";

/// Key of the `n`th part, counted from 1. The first has the delivery's own.
pub(super) fn key(post: &Post, n: usize) -> String {
    if n == 1 {
        post.key.as_str().to_owned()
    } else {
        format!("{}-{n}", post.key.as_str())
    }
}

fn step(n: usize) -> String {
    format!("part-{n}")
}

/// The `n`th part, if its id is on disk.
pub(super) fn part(steps: &Steps, n: usize) -> Option<Receipt> {
    let value = steps.get(&step(n))?;
    let (id, url) = value.split_once(' ').unwrap_or((value.as_str(), ""));
    Some(Receipt {
        url: (!url.is_empty()).then(|| url.to_owned()),
        ..Receipt::of(id)
    })
}

/// Writes a part's id down.
///
/// # Errors
/// If that failed: the part stands there, and only settling finds it again.
pub(super) async fn record(steps: &Steps, n: usize, part: &Receipt) -> Result<(), SendError> {
    let value = match &part.url {
        Some(url) => format!("{} {url}", part.remote_id),
        None => part.remote_id.clone(),
    };
    steps.record(&step(n), &value).await.map_err(SendError::Unknown)
}

/// When the first part was about to go, if an earlier attempt came so far.
pub(super) fn begun(steps: &Steps) -> Option<Timestamp> {
    steps.get(BEGUN)?.parse().ok()
}

/// Writes down that the first part is about to go.
///
/// # Errors
/// If that failed. Nothing was posted.
pub(super) async fn begin(steps: &Steps, now: Timestamp) -> Result<(), SendError> {
    steps
        .record(BEGUN, &now.to_string())
        .await
        .map_err(SendError::NotSent)
}

/// The receipt of a whole thread: the first part's, which remembers the others.
pub(super) fn whole(parts: &[Receipt]) -> Option<Receipt> {
    let first = parts.first()?.clone();
    let ids: Vec<&str> = parts.iter().map(|part| part.remote_id.as_str()).collect();
    Some(Receipt {
        version: (ids.len() > 1).then(|| ids.join(" ")),
        note: (ids.len() > 1).then(|| format!("a thread of {} parts", ids.len())),
        ..first
    })
}

/// The ids of all posts of a receipt, the first one first.
pub(super) fn ids(receipt: &Receipt) -> Vec<&str> {
    match &receipt.version {
        Some(ids) => ids.split(' ').filter(|id| !id.is_empty()).collect(),
        None => vec![receipt.remote_id.as_str()],
    }
}

/// What went wrong with a later part, told so that a person knows that residents read the first ones.
pub(super) fn after_some(error: SendError, n: usize, total: usize) -> SendError {
    match error {
        SendError::Refused(reason) if n > 1 => SendError::Refused(Reason::new(
            reason.code,
            format!(
                "part {n} of {total} was refused, those before it are published: {}",
                reason.text
            ),
        )),
        other @ (SendError::NotSent(_)
        | SendError::Busy { .. }
        | SendError::Credential(_)
        | SendError::Refused(_)
        | SendError::Unknown(_)) => other,
    }
}
