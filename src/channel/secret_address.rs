//! An address that is itself the credential: whoever knows it may post. It lives in the vault, never in a setting, and
//! nothing of it is ever shown.

use secrecy::ExposeSecret;
use url::Url;

use super::Secrets;
use crate::model::Reason;

/// The name under which the vault keeps it.
pub(super) const SECRET: &str = "webhook";

/// The address of the hook. `base_url` takes the place of its scheme and host; path and query stay byte for byte.
pub(super) fn address(secrets: &dyn Secrets, base_url: Option<&Url>) -> Result<Url, Reason> {
    let secret = secrets.require(SECRET)?;
    let unusable = || {
        let text = "the vault's webhook is no https address; copy it whole and set it again with `vardkase credentials set`";
        Reason::new("bad-credential", text)
    };
    let url = Url::parse(secret.expose_secret().trim()).map_err(|_| unusable())?;
    if url.scheme() != "https" || !url.has_host() {
        return Err(unusable());
    }
    let Some(base) = base_url else {
        return Ok(url);
    };
    let mut elsewhere = base.clone();
    elsewhere.set_path(&format!("{}{}", base.path().trim_end_matches('/'), url.path()));
    elsewhere.set_query(url.query());
    Ok(elsewhere)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::secrets::InMemory;

    fn of(secret: &str, base: Option<&str>) -> Result<String, Reason> {
        let base = base.map(|base| base.parse().unwrap());
        address(&InMemory::of([("webhook", secret)]), base.as_ref()).map(String::from)
    }

    #[test]
    fn path_and_query_stay_byte_for_byte_wherever_they_are_sent() {
        let path = "/workflows/a%2Fb/paths/invoke?sp=%2Ftriggers%2Fmanual%2Frun&sig=a-b_c%2Bd%3D";
        let whole = format!("https://prod-01.westeurope.logic.azure.com{path}");
        assert_eq!(of(&whole, None).unwrap(), whole);
        assert_eq!(of(&format!(" {whole}\n"), None).unwrap(), whole);
        assert_eq!(
            of(&whole, Some("http://127.0.0.1:1/drill/x")).unwrap(),
            format!("http://127.0.0.1:1/drill/x{path}")
        );
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_shown() {
        for secret in ["", "hemlig", "http://a.se/hooks/hemlig", "mailto:hemlig@a.se"] {
            let wrong = of(secret, None).unwrap_err();
            assert!(!wrong.to_string().contains("hemlig"), "{wrong}");
        }
    }
}
