//! Connecting an account: from the address that a person opens to credentials that are those of the account that is meant.
//! What comes back by the browser is untrusted until its state is ours; nothing is kept before all of it is proven.
//!
//! No front: where the browser comes back to, and where the credentials are kept, is the caller's.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use url::Url;

use crate::channel::Parts;
use crate::channel::sign_in::{BY_HAND, Back, Grant, SignIn, Visit, Way, brief, where_by_hand};
use crate::config::Account;
use crate::model::Reason;

/// Longest code that is taken.
const MAX_CODE: usize = 4096;

/// The sign-in of one account, under way.
#[derive(Debug)]
pub struct Connecting {
    sign_in: Box<dyn SignIn>,
    visit: Visit,
}

/// How an account can be connected.
///
/// # Errors
/// If its service has no sign-in that we speak, or secrets are missing that it takes.
pub fn way(account: &Account, parts: &Parts) -> Result<Way, Reason> {
    let sign_in = open(account, parts)?;
    let (lacking, where_from) = sign_in.lacks();
    if lacking.is_empty() {
        return Ok(sign_in.way());
    }
    Err(Reason::new(
        "no-app",
        format!(
            "{} has to be in the vault first ({where_from}): `vardkase credentials set {}`",
            lacking.join(" and "),
            account.id
        ),
    ))
}

/// Takes an account's credential back at its service.
///
/// # Errors
/// If the service does not, or only a person can; then with the place where.
pub async fn revoke(account: &Account, parts: &Parts) -> Result<(), Reason> {
    let kind = account.channel.id;
    let revoked = match account.settings.sign_in(parts) {
        Some(sign_in) => sign_in.revoke().await,
        None => Err(Reason::new(BY_HAND, "the service lets only people take it back")),
    };
    revoked.map_err(|reason| {
        if reason.code != BY_HAND {
            return reason;
        }
        let text = format!("{}. Do it by hand: {}", reason.text, where_by_hand(kind));
        Reason::new(BY_HAND, text)
    })
}

fn open(account: &Account, parts: &Parts) -> Result<Box<dyn SignIn>, Reason> {
    account.settings.sign_in(parts).ok_or_else(|| {
        Reason::new(
            "no-sign-in",
            format!(
                "an account of {} is not connected by a sign-in: its credentials are made by hand and kept with `vardkase \
                 credentials set {}` (see docs/channels/{}.md)",
                account.channel.id, account.id, account.channel.id
            ),
        )
    })
}

impl Connecting {
    /// Begins anew, with a state and a proof key of its own.
    ///
    /// # Errors
    /// If the service has no sign-in that we speak.
    pub fn new(account: &Account, parts: &Parts, back: Back) -> Result<Self, Reason> {
        let verifier = random();
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        Ok(Self {
            sign_in: open(account, parts)?,
            visit: Visit {
                back,
                state: random(),
                verifier: SecretString::from(verifier),
                challenge,
                public: account.url.clone(),
            },
        })
    }

    /// The address that the person opens.
    ///
    /// # Errors
    /// If the service does not want to begin.
    pub async fn begin(&mut self) -> Result<Url, Reason> {
        self.sign_in.begin(&self.visit).await
    }

    /// The code in what the browser came back with.
    ///
    /// # Errors
    /// If the answer is not one to this visit, or the person said no.
    pub fn accept(&self, query: &[(String, String)]) -> Result<SecretString, Reason> {
        accept(&self.visit.state, query)
    }

    /// The code in what a person typed: the address that the browser ended at, or the code itself where one was shown.
    ///
    /// # Errors
    /// If it is neither, or the address is no answer to this visit.
    pub fn read(&self, line: &str) -> Result<SecretString, Reason> {
        let line = line.trim();
        if let Ok(url) = Url::parse(line)
            && matches!(url.scheme(), "http" | "https")
        {
            let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
            return self.accept(&query);
        }
        match self.visit.back {
            Back::Shown => code(line),
            // A bare code proves nothing of whose visit it is the answer to.
            Back::To(_) => Err(Reason::new(
                "no-address",
                "that is no address; copy all of what stands in the browser's address bar after you agreed",
            )),
        }
    }

    /// Credentials for the code.
    ///
    /// # Errors
    /// If the service does not take the code, or it is another account's.
    pub async fn finish(&mut self, code: &SecretString) -> Result<Grant, Reason> {
        self.sign_in.finish(&self.visit, code).await
    }
}

fn accept(state: &str, query: &[(String, String)]) -> Result<SecretString, Reason> {
    let one = |name: &str| {
        let mut all = query
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str());
        let first = all.next();
        // Twice the same is none: which of them would be meant?
        if all.next().is_some() { None } else { first }
    };
    let given = one("state").unwrap_or_default();
    if verify_slices_are_equal(given.as_bytes(), state.as_bytes()).is_err() {
        return Err(Reason::new(
            "wrong-state",
            "what came back is not the answer to this sign-in (its state is another one): an old window, or somebody else's \
             link. Nothing was kept; connect again and use only the address that is shown then",
        ));
    }
    if let Some(error) = one("error") {
        let described = one("error_description").map(brief).unwrap_or_default();
        if matches!(
            error,
            "access_denied" | "user_cancelled_login" | "user_cancelled_authorize"
        ) {
            return Err(Reason::new(
                "denied",
                format!("the person at the browser said no, and nothing was kept ({described})"),
            ));
        }
        return Err(Reason::new(
            "not-agreed",
            format!("the service ended the sign-in: {} {described}", brief(error)),
        ));
    }
    code(one("code").unwrap_or_default())
}

fn code(text: &str) -> Result<SecretString, Reason> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || text.len() > MAX_CODE || !is_plain {
        return Err(Reason::new(
            "no-code",
            "there is no code in it; connect again and copy all of it",
        ));
    }
    Ok(SecretString::from(text))
}

/// 256 random bits in base64url.
fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn query(text: &str) -> Vec<(String, String)> {
        url::form_urlencoded::parse(text.as_bytes())
            .into_owned()
            .collect()
    }

    fn code_of(text: &str) -> Result<String, String> {
        accept("stämmer", &query(text))
            .map(|code| code.expose_secret().to_owned())
            .map_err(|reason| reason.code)
    }

    #[test]
    fn only_an_answer_with_our_state_is_read_at_all() {
        for wrong in [
            "",
            "code=abc",
            "code=abc&state=",
            "code=abc&state=annan",
            "code=abc&state=st%C3%A4mme",
            "code=abc&state=st%C3%A4mmerr",
            "code=abc&state=st%C3%A4mmer&state=st%C3%A4mmer",
            "error=access_denied&state=annan",
        ] {
            assert_eq!(code_of(wrong), Err("wrong-state".to_owned()), "{wrong}");
        }
        assert_eq!(code_of("state=st%C3%A4mmer&code=abc"), Ok("abc".to_owned()));
    }

    #[test]
    fn a_no_is_told_apart_from_a_fault_and_a_missing_code() {
        let with = |rest: &str| code_of(&format!("state=st%C3%A4mmer&{rest}"));
        assert_eq!(with("error=access_denied"), Err("denied".to_owned()));
        assert_eq!(with("error=user_cancelled_login"), Err("denied".to_owned()));
        assert_eq!(with("error=server_error&code=abc"), Err("not-agreed".to_owned()));
        for none in ["", "code=", "code=a&code=b", "code=a%0Ab"] {
            assert_eq!(with(none), Err("no-code".to_owned()), "{none}");
        }
    }
}
