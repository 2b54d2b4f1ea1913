//! What is done to a post that stands (changed, taken away, pinned), cut at every request of its exchange: after as many
//! repeats as a dispatcher makes, exactly the wanted end state stands.

use std::time::Duration;

use futures::future::BoxFuture;
use vardkase::channel::{Kind, Transport};
use vardkase::model::{Receipt, SendError};
use vardkase::wall::{CutAt, How};

use super::can::{CORRECTED, correction};
use super::lab::{LETTERS, Lab};
use super::{NOT_HERE, PATIENCE, SHORT, Verdict, ensure};

/// Something that is done with a receipt.
type Step = for<'a> fn(&'a Lab, &'a Receipt) -> BoxFuture<'a, Result<(), SendError>>;

/// What is done, and what must stand after it.
struct Change {
    act: Step,
    holds: fn(&Lab) -> Result<(), String>,
    /// What is to be done before it, undisturbed.
    before: Option<Step>,
}

fn one_says(lab: &Lab, right: &str, wrong: &str) -> Result<(), String> {
    let standing = lab.standing();
    ensure(standing.len() == 1, || format!("{} posts stand", standing.len()))?;
    let text = &standing[0].text;
    ensure(text.contains(right) && !text.contains(wrong), || {
        format!("it says {text:?}")
    })
}

fn is_pinned(lab: &Lab, wanted: bool) -> Result<(), String> {
    one_says(lab, LETTERS, CORRECTED)?;
    let pinned = lab.standing()[0].pinned;
    ensure(pinned == wanted, || format!("pinned: {pinned}"))
}

fn pin<'a>(lab: &'a Lab, receipt: &'a Receipt) -> BoxFuture<'a, Result<(), SendError>> {
    Box::pin(lab.channel.pin(receipt))
}

pub async fn edits(http: &Transport, kind: &'static Kind) -> Verdict {
    if !kind.can.edit {
        return Ok(NOT_HERE.into());
    }
    let change = Change {
        act: |lab, receipt| {
            Box::pin(async move { lab.channel.edit(receipt, &correction(lab)).await.map(drop) })
        },
        holds: |lab| one_says(lab, CORRECTED, LETTERS),
        before: None,
    };
    everywhere(http, kind, &change).await
}

pub async fn retracts(http: &Transport, kind: &'static Kind) -> Verdict {
    if !kind.can.retract {
        return Ok(NOT_HERE.into());
    }
    let change = Change {
        act: |lab, receipt| Box::pin(lab.channel.retract(receipt)),
        holds: |lab| {
            let standing = lab.standing().len();
            ensure(standing == 0, || format!("{standing} posts stand"))
        },
        before: None,
    };
    everywhere(http, kind, &change).await
}

pub async fn pins(http: &Transport, kind: &'static Kind) -> Verdict {
    if !kind.can.pin {
        return Ok(NOT_HERE.into());
    }
    let pinned = Change {
        act: pin,
        holds: |lab| is_pinned(lab, true),
        before: None,
    };
    let unpinned = Change {
        act: |lab, receipt| Box::pin(lab.channel.unpin(receipt)),
        holds: |lab| is_pinned(lab, false),
        before: Some(pin),
    };
    let first = everywhere(http, kind, &pinned).await?;
    let second = everywhere(http, kind, &unpinned).await?;
    Ok(format!("{first} + {second}").replace("ok (", "").replace(')', ""))
}

/// A post that stands, with what comes before the change.
async fn ready(http: &Transport, kind: &'static Kind, change: &Change) -> Result<(Lab, Receipt), String> {
    let (lab, _, receipt) = super::published(http, kind).await?;
    if let Some(before) = change.before {
        before(&lab, &receipt)
            .await
            .map_err(|error| format!("before it: {error}"))?;
    }
    Ok((lab, receipt))
}

async fn everywhere(http: &Transport, kind: &'static Kind, change: &Change) -> Verdict {
    let (lab, receipt) = ready(http, kind, change).await?;
    let stood = lab.seen().len();
    let done = (change.act)(&lab, &receipt).await;
    done.map_err(|error| format!("undisturbed: {error}"))?;
    (change.holds)(&lab).map_err(|wrong| format!("undisturbed: {wrong}"))?;
    let requests = lab.seen().len() - stood;
    if !Lab::is_networked(kind) {
        return Ok("no network".into());
    }
    ensure(requests > 0, || "it asks nothing of the service".into())?;
    let mut hows = [
        CutAt::BeforeHeaders,
        CutAt::Reset,
        CutAt::MidHeaders,
        CutAt::MidBody,
        CutAt::TruncatedJson,
    ]
    .map(How::DoneThenCut)
    .to_vec();
    hows.extend([How::Cut, How::DoneThenHang]);
    hows.push(How::DoneThenAnswer {
        status: 502,
        headers: vec![("content-type".into(), "text/html".into())],
        body: Some("<html><h1>Bad Gateway</h1></html>".into()),
    });
    let mut count = 0;
    for number in 0..requests {
        for how in &hows {
            let (lab, receipt) = ready(http, kind, change).await?;
            lab.strike(number, how.clone());
            let about = |wrong: String| format!("{how:?} at request {number} of {requests}: {wrong}");
            let deadline = if matches!(how, How::DoneThenHang) {
                SHORT
            } else {
                PATIENCE
            };
            at_last(&lab, &receipt, change, deadline).await.map_err(about)?;
            (change.holds)(&lab).map_err(about)?;
            count += 1;
        }
    }
    Ok(format!("ok ({count})"))
}

/// Repeats it as the dispatcher does until the channel says that it is done.
async fn at_last(lab: &Lab, receipt: &Receipt, change: &Change, first: Duration) -> Result<(), String> {
    let mut last = String::new();
    for deadline in [first, PATIENCE, PATIENCE, PATIENCE] {
        match tokio::time::timeout(deadline, (change.act)(lab, receipt)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error @ (SendError::Refused(_) | SendError::Credential(_)))) => {
                return Err(format!("a cut is no refusal: {error}"));
            }
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => "no answer before the deadline".clone_into(&mut last),
        }
    }
    Err(format!("it never gets through: {last}"))
}
