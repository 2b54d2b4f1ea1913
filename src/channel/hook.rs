//! Credentials that are part of an address: nothing of them may be shown, also where a service repeats them.

/// What stands where a service repeated our credential.
const BLANK: &str = "[redacted]";

/// A text of a service without these secrets.
pub(super) fn conceal<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let secrets = secrets.into_iter().filter(|secret| !secret.is_empty());
    secrets.fold(text.to_owned(), |text, secret| text.replace(secret, BLANK))
}
