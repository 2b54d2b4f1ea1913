//! What a recipient's address is, how it is read, and the one form in which it is kept: the same address written in two
//! ways is one recipient.

use serde::{Deserialize, Serialize};
use url::Url;

use super::Recipient;
use super::broadcast::words;

words!(
    /// What the addresses of a list are, and what a list channel takes.
    AddressKind {
        /// A mail address; the domain is kept in lower case.
        Mail = "mail",
        /// A phone number, kept as E.164 writes it. Without a country it is Swedish.
        Phone = "phone",
        /// A browser's subscription, as `JSON.stringify(subscription)` writes it; kept with address and keys only.
        Push = "push",
    }
);

/// Longest address, in bytes: what a browser's subscription may take.
const MAX_BYTES: usize = 4096;
/// Longest address of a push service, in bytes.
const MAX_ENDPOINT: usize = 2000;
/// Longest mail address, in bytes.
const MAX_MAIL: usize = 254;

impl AddressKind {
    /// What such addresses are called.
    pub fn words(self) -> &'static str {
        match self {
            Self::Mail => "mail addresses",
            Self::Phone => "phone numbers",
            Self::Push => "browser subscriptions",
        }
    }

    /// What an address that was read is.
    pub fn of(address: &str) -> Self {
        if address.starts_with('{') {
            Self::Push
        } else if address.contains('@') {
            Self::Mail
        } else {
            Self::Phone
        }
    }

    /// What makes an address the same as another one: of a browser's subscription, where it is reached, whatever keys
    /// stand beside it.
    pub fn place(self, recipient: &Recipient) -> String {
        match self {
            Self::Mail | Self::Phone => recipient.address().to_owned(),
            Self::Push => {
                let read: Option<Subscription> = serde_json::from_str(recipient.address()).ok();
                read.map_or_else(
                    || recipient.address().to_owned(),
                    |read| read.endpoint.to_string(),
                )
            }
        }
    }

    /// Reads an address and brings it into its one form.
    ///
    /// # Errors
    /// What was expected. Never repeats the address: it may be somebody's own.
    pub fn read(self, text: &str) -> Result<Recipient, String> {
        let text = text.trim();
        if text.len() > MAX_BYTES {
            return Err(format!("is longer than {MAX_BYTES} bytes"));
        }
        match self {
            Self::Mail => mail(text),
            Self::Phone => phone(text),
            Self::Push => push(text),
        }
        .map(Recipient::new)
    }
}

fn mail(text: &str) -> Result<String, String> {
    const EXPECTED: &str = "expected a mail address such as \"krisledning@nassjo.se\"";
    if text.len() > MAX_MAIL || text.parse::<lettre::Address>().is_err() {
        return Err(EXPECTED.to_owned());
    }
    if !text.is_ascii() {
        return Err(format!(
            "{EXPECTED} without å, ä and ö: not every mail server takes them"
        ));
    }
    // The domain has no case; what stands before the @ may have.
    let (local, domain) = text.rsplit_once('@').ok_or(EXPECTED)?;
    Ok(format!("{local}@{}", domain.to_ascii_lowercase()))
}

/// Takes the ways in which Swedes write a number: `070-174 06 05`, `0046…`, `+46 (0)70…`.
fn phone(text: &str) -> Result<String, String> {
    let bare: String = text
        .replace("(0)", "")
        .chars()
        .filter(|c| !matches!(c, ' ' | '-' | '\u{2013}' | '(' | ')' | '/' | '\u{a0}'))
        .collect();
    let number = if let Some(rest) = bare.strip_prefix("00") {
        format!("+{rest}")
    } else if let Some(rest) = bare.strip_prefix('0') {
        format!("+46{rest}")
    } else {
        bare
    };
    let digits = number.strip_prefix('+').unwrap_or_default();
    let fits = (8..=15).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0')
        && !number.starts_with("+460");
    if fits {
        Ok(number)
    } else {
        Err("expected a phone number such as \"+46701740605\" or \"070-174 06 05\"".to_owned())
    }
}

/// What a subscription must have to be written to.
#[derive(Debug, Serialize, Deserialize)]
struct Subscription {
    endpoint: Url,
    keys: Keys,
}

#[derive(Debug, Serialize, Deserialize)]
struct Keys {
    p256dh: String,
    auth: String,
}

fn push(text: &str) -> Result<String, String> {
    const EXPECTED: &str = "expected a browser's subscription: JSON with endpoint, keys.p256dh and keys.auth";
    let read: Subscription = serde_json::from_str(text).map_err(|_| EXPECTED)?;
    let loopback = read
        .endpoint
        .host_str()
        .is_some_and(|host| matches!(host, "127.0.0.1" | "[::1]" | "localhost"));
    let fits = read.endpoint.scheme() == "https" || (read.endpoint.scheme() == "http" && loopback);
    let open = read.endpoint.username().is_empty() && read.endpoint.password().is_none();
    if !fits || !open || read.endpoint.as_str().len() > MAX_ENDPOINT {
        return Err("expected a subscription whose endpoint is an https address".to_owned());
    }
    let bytes = |key: &str| {
        use base64::Engine as _;
        let plain = key.trim_end_matches('=').replace('+', "-").replace('/', "_");
        let read = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&plain);
        read.map(|bytes| (plain, bytes.len())).ok()
    };
    let (Some((p256dh, 65)), Some((auth, 16))) = (bytes(&read.keys.p256dh), bytes(&read.keys.auth)) else {
        return Err(
            "expected a subscription with 65 bytes in keys.p256dh and 16 in keys.auth, in base64url"
                .to_owned(),
        );
    };
    let kept = Subscription {
        endpoint: read.endpoint,
        keys: Keys { p256dh, auth },
    };
    serde_json::to_string(&kept).map_err(|_| EXPECTED.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: AddressKind, text: &str) -> Option<String> {
        kind.read(text)
            .ok()
            .map(|recipient| recipient.address().to_owned())
    }

    #[test]
    fn a_number_is_the_same_in_each_form_that_swedes_write() {
        for text in [
            "+46701740605",
            "0701740605",
            "070-174 06 05",
            "070\u{2013}174\u{a0}06\u{a0}05",
            "0046701740605",
            "+46 (0)70 174 06 05",
            "(070) 174 06 05",
            "070/1740605",
        ] {
            assert_eq!(
                read(AddressKind::Phone, text).as_deref(),
                Some("+46701740605"),
                "{text}"
            );
        }
        for text in [
            "",
            "+",
            "112",
            "+460701740605",
            "070-ABC",
            "+46 70 174 06 05 99 88 77",
            "070+1740605",
        ] {
            assert_eq!(read(AddressKind::Phone, text), None, "{text}");
        }
    }

    #[test]
    fn a_mail_address_keeps_its_case_before_the_at_sign_only() {
        assert_eq!(
            read(AddressKind::Mail, " Anna@Nassjo.SE ").as_deref(),
            Some("Anna@nassjo.se")
        );
        for text in [
            "anna",
            "anna@",
            "@nassjo.se",
            "anna@nässjo.se",
            "+46701740605",
            "a b@nassjo.se",
        ] {
            assert_eq!(read(AddressKind::Mail, text), None, "{text}");
        }
    }

    #[test]
    fn a_subscription_is_kept_with_what_is_needed_and_shown_by_its_host_only() {
        let keys = r#""keys":{"auth":"BTBZMqHH6r4Tts7J_aSIgg==","p256dh":"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"}"#;
        let text = format!(r#"{{"expirationTime":null,{keys},"endpoint":"https://push.example/secret"}}"#);
        let recipient = AddressKind::Push.read(&text).unwrap();
        assert!(!recipient.address().contains("expirationTime"));
        assert!(
            recipient
                .address()
                .contains("\"auth\":\"BTBZMqHH6r4Tts7J_aSIgg\"")
        );
        assert_eq!(recipient.masked(), "push.example/…et");
        assert_eq!(AddressKind::of(recipient.address()), AddressKind::Push);
        for spoiled in [
            text.replace("https", "http"),
            text.replace("Tts7J", ""),
            text.replace("endpoint", "address"),
            "{".to_owned(),
        ] {
            let told = AddressKind::Push.read(&spoiled).unwrap_err();
            assert!(!told.contains("secret"), "{told}");
        }
    }
}
