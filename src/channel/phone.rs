//! Phone numbers as channels take them: E.164, `+46701740605`.

use crate::model::{Post, Reason, Recipient, SendError};

/// Whether `text` is a number with its country: a plus sign and 8 to 15 digits, the first of them not 0.
pub(super) fn is_e164(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (8..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0')
    })
}

/// Whom a post is for.
///
/// # Errors
/// Refused if it names nobody, or nobody with a phone number.
pub(super) fn recipient(post: &Post) -> Result<&Recipient, SendError> {
    let refused = |text: String| SendError::Refused(Reason::new("recipient", text));
    let recipient = post
        .recipient
        .as_ref()
        .ok_or_else(|| refused("a message to a phone needs a recipient".to_owned()))?;
    if is_e164(recipient.address()) {
        Ok(recipient)
    } else {
        Err(refused(format!(
            "{recipient} is no phone number with its country, such as +46701740605; correct the list"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::testing::post;

    #[test]
    fn a_number_has_its_country_and_nothing_else() {
        for good in ["+46701740605", "+4684650040", "+12025550123", "+123456789012345"] {
            assert!(is_e164(good), "{good}");
        }
        for bad in [
            "",
            "+",
            "0701740605",
            "46701740605",
            "+0701740605",
            "+46 70 174 06 05",
            "+467017406O5",
            "+1234567",
            "+1234567890123456",
            "anna@example.se",
            "+46701740605\n",
            "+٤٦٧٠١٧٤٠",
        ] {
            assert!(!is_e164(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_recipient_is_said_without_naming_it() {
        let mut post = post("x");
        assert_eq!(recipient(&post).unwrap_err().as_str(), "refused");
        post.recipient = Some(Recipient::new("0701740605"));
        let told = recipient(&post).unwrap_err().to_string();
        assert!(told.contains("…05") && !told.contains("0701740605"), "{told}");
    }
}
