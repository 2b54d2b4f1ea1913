//! What a post goes out without: its picture, its card, the post that it answers to. It is on disk before the post goes,
//! so that the receipt says it also when the answer was lost and the post was found again.

use crate::model::{SendError, Steps};

/// Begins the steps' names.
const STEP: &str = "without-";
/// The step's value when nothing is left out after all.
const NOTHING: &str = "-";

/// What can be left out.
pub(super) const PICTURE: &str = "picture";
/// A card of the page that is linked to.
pub(super) const CARD: &str = "card";
/// The post that it would have answered to.
pub(super) const PARENT: &str = "parent";

/// Writes down that the post that goes now has no such thing, and why.
///
/// # Errors
/// If it could not be written. Nothing was posted.
pub(super) async fn note_down(steps: &Steps, what: &str, why: &str) -> Result<(), SendError> {
    let step = format!("{STEP}{what}");
    steps.record(&step, why).await.map_err(SendError::NotSent)
}

/// Writes down that the post that goes now has it, if an earlier one had not.
///
/// # Errors
/// If it could not be written. Nothing was posted.
pub(super) async fn take_back(steps: &Steps, what: &str) -> Result<(), SendError> {
    if of(steps, what).is_none() {
        return Ok(());
    }
    note_down(steps, what, NOTHING).await
}

/// Why the post that went last has no such thing, if it has none.
pub(super) fn of(steps: &Steps, what: &str) -> Option<String> {
    steps.get(&format!("{STEP}{what}")).filter(|why| why != NOTHING)
}

/// What a receipt says: all that was left out, and what else there is to say.
pub(super) fn note(steps: &Steps, also: Option<String>) -> Option<String> {
    let left_out = [PICTURE, CARD, PARENT].map(|what| of(steps, what));
    joined(left_out.into_iter().flatten().chain(also))
}

/// What the receipt of a change says if the picture that it brought did not go in.
pub(super) fn keeps(why: &str) -> String {
    let why: String = why.chars().filter(|c| !c.is_control()).take(150).collect();
    format!("the post keeps its earlier picture, if it has one: {why}")
}

/// Notes as one.
pub(super) fn joined(notes: impl IntoIterator<Item = String>) -> Option<String> {
    let mut all: Vec<String> = Vec::new();
    for note in notes {
        if !all.contains(&note) {
            all.push(note);
        }
    }
    (!all.is_empty()).then(|| all.join("; "))
}
