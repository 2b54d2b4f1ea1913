//! Where an SFTP folder is and how its server proves itself, as the configuration says it.

use std::fmt;
use std::sync::Arc;

use russh::keys::ssh_key::Fingerprint;
use russh::keys::{Algorithm, HashAlg, PublicKey};
use url::Url;

use super::ALGORITHMS;
use crate::channel::SftpSite;
use crate::config::section::{Section, quoted};

/// The folder of every account on the practice wall; the user name says whose it is.
pub(crate) const PRACTICE_FOLDER: &str = "/ovning";

/// The port of SSH.
const PORT: u16 = 22;
/// Most keys that are kept side by side: the old one and the new one, of each kind.
const MOST_KEYS: usize = 8;

/// A server, a folder on it, and the keys that it may prove itself with.
#[derive(Debug, Clone)]
pub(in super::super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    /// Absolute, without a slash at its end.
    folder: String,
    keys: Arc<[HostKey]>,
}

/// A key that the server may prove itself with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostKey {
    /// `SHA256:` and the digest in base64.
    fingerprint: String,
    /// Of what kind it is, if the whole key is known.
    algorithm: Option<Algorithm>,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sftp://{}", self.host)?;
        if self.port != PORT {
            write!(f, ":{}", self.port)?;
        }
        write!(f, "{}/", self.folder)
    }
}

impl Server {
    /// Reads `sftp` and `host_keys`.
    pub(in super::super) fn read(section: &mut Section<'_>) -> Option<Self> {
        const ADDRESS: &str = "the address of a folder such as \"sftp://skarmar.example.se/srv/kris\"";
        const KEYS: &str = "a list of the server's keys, each as its fingerprint (\"SHA256:…\") or as its line of \
                            ssh-keyscan (\"ssh-ed25519 AAAA…\")";
        let text: Option<String> = section.required("sftp", ADDRESS);
        let place = text.and_then(|text| match place(&text) {
            Ok(place) => Some(place),
            Err(what) => {
                section.problem("sftp", format!("{what}; expected {ADDRESS}"));
                None
            }
        });
        let lines = section.required_strings("host_keys", KEYS)?;
        if lines.is_empty() || lines.len() > MOST_KEYS {
            section.problem(
                "host_keys",
                format!("holds {}; expected {KEYS}, at most {MOST_KEYS}", lines.len()),
            );
        }
        let mut keys = Vec::new();
        for line in lines {
            match HostKey::parse(&line.value) {
                Ok(key) => keys.push(key),
                Err(what) => section.problem_at(line.place, "host_keys", format!("{what}; expected {KEYS}")),
            }
        }
        let (host, port, folder) = place?;
        Some(Self {
            host,
            port,
            folder,
            keys: keys.into(),
        })
    }

    /// The practice wall's.
    pub(in super::super) fn at_wall(site: &SftpSite) -> Self {
        Self {
            host: site.address.ip().to_string(),
            port: site.address.port(),
            folder: PRACTICE_FOLDER.to_owned(),
            keys: Arc::from([HostKey {
                fingerprint: site.host_key.clone(),
                algorithm: Some(Algorithm::Ed25519),
            }]),
        }
    }

    /// The path of a file in the folder.
    pub(super) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// Whether it may prove itself with this key.
    pub(super) fn knows(&self, fingerprint: &str) -> bool {
        self.keys.iter().any(|key| key.fingerprint == fingerprint)
    }

    /// The kinds of key that it is asked to prove itself with: those that are known to be pinned, or any.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        let is_wanted = |algorithm: &Algorithm| {
            let mut keys = self.keys.iter();
            keys.any(|key| key.algorithm.as_ref().is_none_or(|known| known == algorithm))
        };
        ALGORITHMS.into_iter().filter(is_wanted).collect()
    }
}

impl HostKey {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with("SHA256:") {
            let fingerprint: Fingerprint = text
                .parse()
                .map_err(|_| format!("{} is no SHA-256 fingerprint", quoted(text)))?;
            return Ok(Self {
                fingerprint: fingerprint.to_string(),
                algorithm: None,
            });
        }
        // A line of known_hosts has the server's name first.
        let mut words = text.split_whitespace().skip_while(|word| !is_algorithm(word));
        let (Some(algorithm), Some(key)) = (words.next(), words.next()) else {
            return Err(format!("{} is neither fingerprint nor key", quoted(text)));
        };
        let key = PublicKey::from_openssh(&format!("{algorithm} {key}"))
            .map_err(|_| format!("{} is no key that can be read", quoted(text)))?;
        if !ALGORITHMS.contains(&key.algorithm()) {
            return Err(format!(
                "keys of the kind {algorithm} are not spoken; take the server's Ed25519 or ECDSA key"
            ));
        }
        Ok(Self {
            fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
            algorithm: Some(key.algorithm()),
        })
    }
}

fn is_algorithm(word: &str) -> bool {
    word.starts_with("ssh-") || word.starts_with("ecdsa-sha2-")
}

/// Host, port and folder. The folder is taken as it stands, nothing in it is an escape.
fn place(text: &str) -> Result<(String, u16, String), String> {
    let Some(rest) = text.strip_prefix("sftp://") else {
        return Err(format!("found {}", quoted(text)));
    };
    let (authority, folder) = rest
        .split_once('/')
        .ok_or_else(|| format!("{} names no folder", quoted(text)))?;
    if authority.contains('@') {
        // Not repeated: it may hold a password.
        return Err("holds a user name or password, which belong in the vault".to_owned());
    }
    let url = Url::parse(&format!("sftp://{authority}"));
    let url = url.map_err(|error| format!("{} is no address ({error})", quoted(text)))?;
    let host = url.host_str().unwrap_or_default();
    if host.is_empty() {
        return Err(format!("{} names no server", quoted(text)));
    }
    let folder = folder.trim_end_matches('/');
    if folder.split('/').any(|part| matches!(part, "." | "..")) || folder.chars().any(char::is_control) {
        return Err(format!("{} names no plain folder", quoted(text)));
    }
    let folder = if folder.is_empty() {
        String::new()
    } else {
        format!("/{folder}")
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), url.port().unwrap_or(PORT), folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A throw-away key; its private half is gone.
    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[test]
    fn addresses_name_a_server_and_an_absolute_folder() {
        let rows = [
            ("sftp://a.se/srv/kris", ("a.se", 22, "/srv/kris")),
            ("sftp://a.se:2222/srv/kris/", ("a.se", 2222, "/srv/kris")),
            ("sftp://[::1]:2222/", ("::1", 2222, "")),
            ("sftp://a.se/srv/skärmar 50%", ("a.se", 22, "/srv/skärmar 50%")),
        ];
        for (text, (host, port, folder)) in rows {
            assert_eq!(
                place(text),
                Ok((host.to_owned(), port, folder.to_owned())),
                "{text}"
            );
        }
        for wrong in [
            "a.se/srv",
            "https://a.se/srv",
            "sftp://a.se",
            "sftp:///srv",
            "sftp://kris:hemlig@a.se/srv",
            "sftp://a.se:99999/srv",
            "sftp://a.se/srv/../etc",
        ] {
            let what = place(wrong).unwrap_err();
            assert!(!what.contains("hemlig"), "{what}");
        }
    }

    #[test]
    fn a_key_is_the_same_by_its_line_and_by_its_fingerprint() {
        let line = HostKey::parse(&format!("ssh-ed25519 {KEY}")).unwrap();
        let known = HostKey::parse(&format!("[a.se]:2222 ssh-ed25519 {KEY} kris@a")).unwrap();
        assert_eq!(line, known);
        assert_eq!(line.algorithm, Some(Algorithm::Ed25519));
        let printed = HostKey::parse(&line.fingerprint).unwrap();
        assert_eq!(printed.fingerprint, line.fingerprint);
        for wrong in [
            "",
            "SHA256:x",
            "MD5:00:11",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            "ssh-rsa AAAAB3NzaC1yc2E=",
        ] {
            HostKey::parse(wrong).unwrap_err();
        }
    }
}
