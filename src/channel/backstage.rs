//! What a message backstage comes to, in the same words on every channel. What was made there is taken away whatever
//! became of reading it back, and what could not be taken away is named.

use super::Backstage;
use crate::model::{Post, Reason, Receipt, SendError};

/// Code of a place that is set as one that the public cannot see, and is the public one. Nothing was sent there.
pub(super) const IS_PUBLIC: &str = "backstage-is-public";

/// What came of it: `read` says whether it was read back as it was written, `gone` whether it was taken away.
pub(super) fn ended(
    place: &str,
    id: &str,
    read: Result<bool, SendError>,
    gone: Result<(), SendError>,
) -> Result<Backstage, SendError> {
    gone.map_err(|why| left(place, id, &why.reason().text))?;
    Ok(Backstage {
        place: place.to_owned(),
        read_back: read.map_err(harmless)?,
        removed: true,
    })
}

/// It was sent to a place of our own that nobody but a person can look at, and that keeps it.
pub(super) fn sent(place: &str, made: Result<Receipt, SendError>) -> Result<Backstage, SendError> {
    made.map_err(harmless)?;
    Ok(Backstage {
        place: place.to_owned(),
        read_back: false,
        removed: false,
    })
}

/// Nothing of ours is left that anybody would have to take away, whatever became of the request.
pub(super) fn harmless(error: SendError) -> SendError {
    if let SendError::Unknown(reason) = error {
        SendError::NotSent(reason)
    } else {
        error
    }
}

/// Something stands backstage that nobody takes away.
pub(super) fn left(place: &str, id: &str, why: &str) -> SendError {
    let id: String = id.chars().take(60).collect();
    let why: String = why.chars().take(120).collect();
    let text = format!("{id} was left {place}: {why}; take it away by hand");
    SendError::Refused(Reason::new("backstage-left", text))
}

/// The service may have made it where the public sees it, and nothing but taking it away helps.
pub(super) fn shown(place: &str, id: &str, gone: Result<(), SendError>) -> SendError {
    if let Err(why) = gone {
        return left(
            "in public",
            id,
            &format!("it should have stood {place}, and {}", why.reason().text),
        );
    }
    let text = format!("the service did not put {id} {place}, so it was taken away at once");
    SendError::Refused(Reason::new("backstage-public", text))
}

/// There is no place that the public cannot see, until there is: `how` says what to set.
pub(super) fn nowhere(how: &str) -> SendError {
    SendError::Refused(Reason::new(
        "no-backstage",
        format!("this account has no place that the public cannot see; {how}"),
    ))
}

/// The text of a message that calls nobody: what looks like a name for somebody does not any more.
pub(super) fn calling_nobody(post: &Post) -> String {
    post.rendering.text.replace('@', "(at)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong() -> SendError {
        SendError::NotSent(Reason::new("connect", "no contact"))
    }

    #[test]
    fn what_could_not_be_taken_away_is_named_whatever_reading_gave() {
        for read in [Ok(true), Ok(false), Err(wrong())] {
            let error = ended("as a draft", "17", read, Err(wrong())).unwrap_err();
            assert_eq!(error.reason().code, "backstage-left");
            assert!(error.reason().text.contains("17 was left as a draft"), "{error}");
        }
        let done = ended("as a draft", "17", Ok(true), Ok(())).unwrap();
        assert!(done.read_back && done.removed);
        assert!(!ended("as a draft", "17", Ok(false), Ok(())).unwrap().read_back);
        assert_eq!(ended("as a draft", "17", Err(wrong()), Ok(())), Err(wrong()));
        let lost = SendError::Unknown(wrong().reason().clone());
        assert_eq!(
            ended("as a draft", "17", Err(lost), Ok(())),
            Err(wrong()),
            "nothing is left"
        );
    }
}
