//! The message itself: the same bytes for every attempt, so that a repeat is recognised as the same letter.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use lettre::message::header::{self, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, MultiPartKind, SinglePart};
use lettre::{Address, Message};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::channel::html;
use crate::model::{AccountId, ListId, Post, Reason, Receipt};

/// Who writes, as far as it is the same for every letter.
#[derive(Debug, Clone)]
pub(super) struct Letterhead {
    pub(super) account: AccountId,
    pub(super) from: String,
    pub(super) sender: String,
    pub(super) domain: String,
    pub(super) list: Option<ListId>,
    pub(super) leave: Option<Leave>,
}

/// How a reader leaves the list with one click (RFC 8058).
#[derive(Debug, Clone)]
pub(super) struct Leave {
    /// The address, with `{token}` in it.
    pub(super) address: String,
    pub(super) key: SecretString,
}

impl Leave {
    /// The address for one recipient. Its token is the recipient's address and, after a full stop, HMAC-SHA256 over list,
    /// line feed and address, both in base64url: whoever has the key can tell whom it was made for, nobody else can
    /// make one.
    fn address_for(&self, list: &ListId, recipient: &str) -> Result<String, Reason> {
        let proof = self.proof_of(list, recipient)?.finalize().into_bytes();
        let proof = URL_SAFE_NO_PAD.encode(proof);
        let token = format!("{}.{proof}", URL_SAFE_NO_PAD.encode(recipient));
        Ok(self.address.replace("{token}", &token))
    }

    /// Whom a token was made for.
    pub(super) fn leaver(&self, list: &ListId, token: &str) -> Result<String, Reason> {
        let refused = || Reason::new("token-refused", "it is no token that we made for this list");
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let (recipient, proof) = token.split_once('.').ok_or_else(refused)?;
        let recipient = decoded(recipient).and_then(|bytes| String::from_utf8(bytes).ok());
        let (recipient, proof) = recipient.zip(decoded(proof)).ok_or_else(refused)?;
        // Takes the same time wherever the first difference stands.
        let held = self.proof_of(list, &recipient)?.verify_slice(&proof);
        held.map(|()| recipient).map_err(|_| refused())
    }

    fn proof_of(&self, list: &ListId, recipient: &str) -> Result<Hmac<Sha256>, Reason> {
        let unusable = |_| Reason::new("no-credential", "unsubscribe_key cannot be used as a key");
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key.expose_secret().as_bytes()).map_err(unusable)?;
        mac.update(format!("{list}\n{recipient}").as_bytes());
        Ok(mac)
    }
}

/// A letter in its envelope.
pub(super) struct Letter {
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) message_id: String,
    pub(super) bytes: Vec<u8>,
}

macro_rules! header {
    ($name:ident, $word:literal) => {
        #[derive(Clone)]
        struct $name(String);

        impl Header for $name {
            fn name() -> HeaderName {
                HeaderName::new_from_ascii_str($word)
            }

            fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
                Ok(Self(text.to_owned()))
            }

            fn display(&self) -> HeaderValue {
                HeaderValue::new(Self::name(), self.0.clone())
            }
        }
    };
}

header!(AutoSubmitted, "Auto-Submitted");
header!(ListName, "List-Id");
header!(ListUnsubscribe, "List-Unsubscribe");
header!(ListUnsubscribePost, "List-Unsubscribe-Post");
header!(VardkaseAccount, "X-Vardkase-Account");
header!(VardkaseMode, "X-Vardkase-Mode");

/// Reads a mail address.
pub(super) fn address(text: &str) -> Result<Address, Reason> {
    text.parse()
        .map_err(|_| Reason::new("address", "is not a mail address such as kris@nassjo.se"))
}

impl Letterhead {
    /// The Message-ID of a post's letter.
    pub(super) fn message_id(&self, post: &Post) -> String {
        format!("<{}@{}>", post.key, self.domain)
    }

    /// Writes the letter of a post.
    ///
    /// # Errors
    /// If it has no recipient, an address is none, or a header would hold a line break. Nothing was sent then.
    pub(super) fn write(&self, post: &Post) -> Result<Letter, Reason> {
        let recipient = post.recipient.as_ref().ok_or_else(|| {
            Reason::new(
                "no-recipient",
                "a mail needs a recipient and this delivery has none",
            )
        })?;
        let to: Address = address(recipient.address())
            .map_err(|_| Reason::new("address", format!("{recipient} is not a mail address")))?;
        let from = address(&self.from)?;
        // lettre would fold them; a headline with a line break is wrong in itself and refused.
        for line in [&post.rendering.headline, &self.sender, &self.domain] {
            if line.chars().any(char::is_control) {
                return Err(Reason::new("header", "a mail's headers may not hold line breaks"));
            }
        }
        let message_id = self.message_id(post);
        let mut builder = Message::builder()
            .from(Mailbox::new(Some(self.sender.clone()), from.clone()))
            .to(Mailbox::new(None, to.clone()))
            .subject(&post.rendering.headline)
            .date(date(post))
            .message_id(Some(message_id.clone()))
            .header(AutoSubmitted("auto-generated".to_owned()))
            .header(VardkaseAccount(self.account.to_string()))
            .header(VardkaseMode(post.mode.to_string()));
        if let Some(list) = &self.list {
            builder = builder.header(ListName(format!("<{list}.{}>", self.domain)));
            if let Some(leave) = &self.leave {
                let address = leave.address_for(list, recipient.address())?;
                builder = builder
                    .header(ListUnsubscribe(format!("<{address}>")))
                    .header(ListUnsubscribePost("List-Unsubscribe=One-Click".to_owned()));
            }
        }
        let mut earlier: Vec<String> = Vec::new();
        for id in [&post.root, &post.parent]
            .into_iter()
            .flatten()
            .filter_map(threads_under)
        {
            if !earlier.contains(&id) {
                earlier.push(id);
            }
        }
        if let Some(latest) = earlier.last() {
            builder = builder
                .header(header::InReplyTo::from(latest.clone()))
                .header(header::References::from(earlier.join(" ")));
        }
        let body = MultiPart::builder()
            .kind(MultiPartKind::Alternative)
            // Random by default, and then no two attempts would be the same bytes.
            .boundary(format!("=_{}", post.key))
            .singlepart(SinglePart::plain(post.rendering.text.clone()))
            .singlepart(SinglePart::html(as_html(post)));
        let message = builder
            .multipart(body)
            .map_err(|error| Reason::new("message", format!("the mail cannot be written: {error}")))?;
        Ok(Letter {
            from,
            to,
            message_id,
            bytes: message.formatted(),
        })
    }
}

/// The Message-ID of an earlier letter, if it is one.
fn threads_under(receipt: &Receipt) -> Option<String> {
    let id = &receipt.remote_id;
    let inner = id.strip_prefix('<')?.strip_suffix('>')?;
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>');
    (inner.contains('@') && inner.chars().all(plain)).then(|| id.clone())
}

fn date(post: &Post) -> SystemTime {
    let seconds = u64::try_from(post.accepted_at.as_second()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The HTML part: the rendering's own, or made from its text.
fn as_html(post: &Post) -> String {
    if let Some(html) = &post.rendering.html {
        return html.clone();
    }
    let lang = post
        .rendering
        .languages
        .first()
        .map_or("sv", |lang| lang.as_str());
    format!(
        "<!doctype html>\n<html lang=\"{lang}\">\n<head>\n<meta charset=\"utf-8\">\n<title>{}</title>\n</head>\n\
         <body>\n{}</body>\n</html>\n",
        html::escape(&post.rendering.headline),
        html::paragraphs(&post.rendering.text),
    )
}
