//! Secrets as they come in on standard input: `name=value`, a line each. What is wrong is told without repeating what was
//! written, because that may be the secret itself.

use std::io::Read;

use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::channel::SecretName;
use crate::config::Config;
use crate::config::source::nearest;

/// Most that is read.
const MAX_INPUT: u64 = 64 * 1024;

/// What a relay that wants a log-in needs.
pub const RELAY_SECRETS: &[SecretName] = &[
    SecretName {
        name: "username",
        required: true,
        internal: false,
    },
    SecretName {
        name: "password",
        required: true,
        internal: false,
    },
];

/// The secrets that the account or relay named `owner` has; `None` if there is no such owner.
pub fn secret_names(config: &Config, owner: &str) -> Option<&'static [SecretName]> {
    if let Some(account) = config.accounts.get(owner) {
        return Some(account.channel.secrets);
    }
    let relay = config.relays.iter().any(|relay| relay.id.as_str() == owner);
    relay.then_some(RELAY_SECRETS)
}

/// Reads `name=value` lines, of names among `known`. Blank lines are skipped; the value is everything after the first
/// `=`, spaces included.
///
/// # Errors
/// Everything that is wrong, a sentence each.
pub fn parse_lines(
    input: impl Read,
    known: &[SecretName],
) -> Result<Vec<(String, SecretString)>, Vec<String>> {
    let mut bytes = Zeroizing::new(Vec::new());
    if let Err(error) = input.take(MAX_INPUT + 1).read_to_end(&mut bytes) {
        return Err(vec![format!("standard input cannot be read: {error}")]);
    }
    if bytes.len() as u64 > MAX_INPUT {
        return Err(vec![format!(
            "standard input is larger than {} KiB",
            MAX_INPUT / 1024
        )]);
    }
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return Err(vec!["standard input is not UTF-8 text".to_owned()]);
    };
    let settable: Vec<&str> = known
        .iter()
        .filter(|secret| !secret.internal)
        .map(|secret| secret.name)
        .collect();
    let mut secrets: Vec<(String, SecretString)> = Vec::new();
    let mut wrong = Vec::new();
    for (n, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let n = n + 1;
        match one(line, &settable, known) {
            Ok((name, _)) if secrets.iter().any(|(other, _)| other == name) => {
                wrong.push(format!("line {n}: {name} is given twice"));
            }
            Ok((name, value)) => secrets.push((name.to_owned(), SecretString::from(value))),
            Err(what) => wrong.push(format!("line {n}: {what}")),
        }
    }
    if secrets.is_empty() && wrong.is_empty() {
        wrong.push(format!("standard input is empty; {}", expected(&settable)));
    }
    if wrong.is_empty() { Ok(secrets) } else { Err(wrong) }
}

fn one<'a>(line: &'a str, settable: &[&'a str], known: &[SecretName]) -> Result<(&'a str, &'a str), String> {
    let Some((name, value)) = line.split_once('=') else {
        return Err(format!("no \"=\" in it; {}", expected(settable)));
    };
    let name = name.trim();
    if known.iter().any(|secret| secret.name == name && secret.internal) {
        return Err(format!("{name} is kept by the daemon itself and not set by hand"));
    }
    if !settable.contains(&name) {
        return Err(match nearest(name, settable.iter().copied()) {
            Some(near) => format!("unknown name; did you mean {near:?}?"),
            None => format!("unknown name; {}", expected(settable)),
        });
    }
    if value.trim().is_empty() {
        return Err(format!("{name} has no value"));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("{name} holds a tab or another control character"));
    }
    Ok((name, value))
}

fn expected(settable: &[&str]) -> String {
    match settable {
        [] => "nothing is expected: this account has no secrets".to_owned(),
        names => {
            let names: Vec<String> = names.iter().map(|name| format!("{name}=…")).collect();
            format!("expected {}", names.join(" or "))
        }
    }
}
