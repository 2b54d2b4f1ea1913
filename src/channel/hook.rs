//! An address that is itself the credential: an incoming webhook. It stands whole in the vault; nothing of its path may
//! be shown, also where a service repeats it.

use std::fmt;

use secrecy::ExposeSecret;
use url::Url;

use super::Secrets;
use super::backstage::{IS_PUBLIC, nowhere};
use crate::model::{Reason, SendError};

/// The secret's name in the vault.
pub(super) const SECRET: &str = "webhook";
/// The name of another one, whose channel only we see.
pub(super) const BACKSTAGE: &str = "backstage_webhook";

/// What stands where a service repeated our credential.
const BLANK: &str = "[redacted]";

/// Shortest part of a path that is a secret by itself.
const SECRET_CHARS: usize = 16;

/// A webhook's address.
#[derive(Clone)]
pub(super) struct Hook(Url);

impl Hook {
    /// Reads the webhook from the vault. With `base` its scheme, host and port are replaced; a path of `base` comes
    /// before its own.
    ///
    /// # Errors
    /// If there is none, or it is no web address with a path: what to do about it. The address is not repeated.
    pub(super) fn read(secrets: &dyn Secrets, base: Option<&Url>) -> Result<Self, Reason> {
        Self::named(secrets, SECRET, base)
    }

    /// The webhook of a channel that only we see, if the vault holds one that is not this one.
    pub(super) fn backstage(&self, secrets: &dyn Secrets, base: Option<&Url>) -> Result<Self, SendError> {
        let held = secrets.get(BACKSTAGE);
        if held.is_none_or(|secret| secret.expose_secret().is_empty()) {
            return Err(nowhere(
                "set backstage_webhook to the webhook of a channel that only we are in",
            ));
        }
        let hook = Self::named(secrets, BACKSTAGE, base).map_err(SendError::Credential)?;
        // The same secret is the same webhook, however its address is spelled.
        let secret = |url: &Url| {
            url.path_segments()
                .and_then(|mut parts| parts.rfind(|part| part.len() >= SECRET_CHARS).map(str::to_owned))
        };
        let same = secret(&hook.0).is_some_and(|part| Some(part) == secret(&self.0));
        if same || hook.0.path() == self.0.path() {
            let text =
                "backstage_webhook is the webhook of the public channel; set that of one that only we are in";
            return Err(SendError::Refused(Reason::new(IS_PUBLIC, text)));
        }
        Ok(hook)
    }

    fn named(secrets: &dyn Secrets, name: &'static str, base: Option<&Url>) -> Result<Self, Reason> {
        let secret = secrets.require(name)?;
        let wrong = || {
            let text = format!(
                "the {name} in the vault is not an https address such as the service shows it; copy it again and set it \
                 with `vardkase credentials set`"
            );
            Reason::new("bad-credential", text)
        };
        let url = Url::parse(secret.expose_secret().trim()).map_err(|_| wrong())?;
        let parts = url.path().trim_matches('/').split('/').count();
        if url.scheme() != "https" || !url.has_host() || parts < 2 || !url.username().is_empty() {
            return Err(wrong());
        }
        let Some(base) = base else {
            return Ok(Self(url));
        };
        let mut moved = base.clone();
        moved.set_path(&format!("{}{}", base.path().trim_end_matches('/'), url.path()));
        moved.set_query(url.query());
        Ok(Self(moved))
    }

    /// The address, for the wire only.
    pub(super) fn url(&self) -> &Url {
        &self.0
    }

    /// Puts another part of the path in the place of the first one that is like this.
    pub(super) fn replace(&mut self, part: &str, by: &str) {
        let path = self.0.path().replacen(part, by, 1);
        self.0.set_path(&path);
    }

    /// The host, which may be shown.
    pub(super) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// A text of the service without anything of the address.
    pub(super) fn conceal(&self, text: &str) -> String {
        let path = self.0.path().trim_end_matches('/');
        let parts = path.split('/').filter(|part| part.len() >= SECRET_CHARS);
        conceal(text, std::iter::once(path).chain(parts))
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hook({}, {BLANK})", self.host())
    }
}

/// A text of a service without these secrets.
pub(super) fn conceal<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let secrets = secrets.into_iter().filter(|secret| !secret.is_empty());
    secrets.fold(text.to_owned(), |text, secret| text.replace(secret, BLANK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::secrets::InMemory;

    const HOOK: &str = "https://hooks.slack.com/services/T000/B000/abcdefghijklmnopqrstuvwx";

    fn read(secret: &str, base: Option<&str>) -> Result<Hook, Reason> {
        let base = base.map(|base| base.parse().unwrap());
        Hook::read(&InMemory::of([(SECRET, secret)]), base.as_ref())
    }

    #[test]
    fn another_host_keeps_the_secret_path() {
        assert_eq!(read(HOOK, None).unwrap().url().as_str(), HOOK);
        let moved = read(HOOK, Some("http://127.0.0.1:1/drill/slack")).unwrap();
        assert_eq!(
            moved.url().as_str(),
            "http://127.0.0.1:1/drill/slack/services/T000/B000/abcdefghijklmnopqrstuvwx"
        );
    }

    #[test]
    fn path_and_query_stay_byte_for_byte_wherever_they_are_sent() {
        let path = "/workflows/a%2Fb/paths/invoke?sp=%2Ftriggers%2Fmanual%2Frun&sig=a-b_c%2Bd%3D";
        let whole = format!("https://prod-01.westeurope.logic.azure.com{path}");
        assert_eq!(read(&format!(" {whole}\n"), None).unwrap().url().as_str(), whole);
        assert_eq!(
            read(&whole, Some("http://127.0.0.1:1/drill/x"))
                .unwrap()
                .url()
                .as_str(),
            format!("http://127.0.0.1:1/drill/x{path}")
        );
    }

    #[test]
    fn the_webhook_of_the_public_channel_is_no_place_backstage() {
        let public = read(HOOK, None).unwrap();
        let other = HOOK.replace("abcdefgh", "zyxwvuts");
        for (secret, code) in [
            ("", "no-backstage"),
            (HOOK, IS_PUBLIC),
            ("http://x", "bad-credential"),
        ] {
            let secrets = InMemory::of([(BACKSTAGE, secret)]);
            let error = public.backstage(&secrets, None).unwrap_err();
            assert_eq!(error.reason().code, code);
            assert!(!error.reason().text.contains("abcdefgh"), "{error}");
        }
        let secrets = InMemory::of([(BACKSTAGE, other.as_str())]);
        assert_eq!(public.backstage(&secrets, None).unwrap().url().as_str(), other);
    }

    #[test]
    fn nothing_of_it_is_shown() {
        let hook = read(HOOK, None).unwrap();
        assert_eq!(format!("{hook:?}"), "Hook(hooks.slack.com, [redacted])");
        for text in [
            HOOK,
            "/services/T000/B000/abcdefghijklmnopqrstuvwx",
            "abcdefghijklmnopqrstuvwx",
        ] {
            let told = hook.conceal(&format!("no {text} here"));
            assert!(!told.contains("abcdefgh") && told.contains(BLANK), "{told}");
        }
    }

    #[test]
    fn what_is_no_webhook_is_refused_without_repeating_it() {
        for secret in [
            "abcdefgh",
            "http://hooks.slack.com/services/T/B/abcdefgh",
            "https://hooks.slack.com/",
            "https://a:abcdefgh@b.se/c/d",
        ] {
            let reason = read(secret, None).unwrap_err();
            assert_eq!(reason.code, "bad-credential", "{secret}");
            assert!(!reason.text.contains("abcdefgh"), "{reason}");
        }
        assert_eq!(read("", None).unwrap_err().code, "no-credential");
    }
}
