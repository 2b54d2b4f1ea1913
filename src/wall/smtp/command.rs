//! SMTP commands, read strictly.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Reply;

/// A command that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Ehlo,
    Helo,
    Auth { user: String, password: String },
    Mail(Envelope),
    Rcpt(String),
    Data,
    Rset,
    Noop,
    Vrfy,
    Quit,
}

/// A transaction as it builds up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Envelope {
    pub from: String,
    pub to: Vec<String>,
    pub size: Option<usize>,
    pub is_8bit: bool,
}

impl Command {
    /// Reads a line without its end.
    ///
    /// # Errors
    /// With the reply that says what is wrong with it.
    pub fn parse(line: &str) -> Result<Self, Reply> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let command = match verb.to_ascii_uppercase().as_str() {
            "EHLO" if rest.trim().is_empty() => return Err(Reply::new(501, "5.5.4 EHLO needs a name")),
            "EHLO" => Self::Ehlo,
            "HELO" => Self::Helo,
            "AUTH" => return auth(rest),
            "MAIL" => return mail(rest),
            "RCPT" => return rcpt(rest),
            "DATA" => Self::Data,
            "RSET" => Self::Rset,
            "NOOP" => return Ok(Self::Noop),
            "VRFY" => return Ok(Self::Vrfy),
            "QUIT" => Self::Quit,
            _ => return Err(Reply::new(500, "5.5.2 no such command")),
        };
        let takes_argument = matches!(command, Self::Ehlo | Self::Helo);
        if !takes_argument && !rest.is_empty() {
            return Err(Reply::new(501, "5.5.4 no argument expected"));
        }
        Ok(command)
    }

    /// Its name for faults: the stage, and whom it is about.
    pub fn stage(&self) -> String {
        match self {
            Self::Ehlo | Self::Helo => "ehlo".to_owned(),
            Self::Auth { .. } => "auth".to_owned(),
            Self::Mail(envelope) => format!("mail:{}", envelope.from),
            Self::Rcpt(address) => format!("rcpt:{address}"),
            Self::Data => "data".to_owned(),
            Self::Rset => "rset".to_owned(),
            Self::Noop => "noop".to_owned(),
            Self::Vrfy => "vrfy".to_owned(),
            Self::Quit => "quit".to_owned(),
        }
    }
}

fn auth(rest: &str) -> Result<Command, Reply> {
    let (mechanism, data) = rest.split_once(' ').unwrap_or((rest, ""));
    if !mechanism.eq_ignore_ascii_case("PLAIN") {
        return Err(Reply::new(504, "5.5.4 only PLAIN"));
    }
    let bad = || Reply::new(501, "5.5.2 not a PLAIN response");
    let text = STANDARD
        .decode(data)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(bad)?;
    let mut fields = text.split('\0').skip(1);
    match (fields.next(), fields.next(), fields.next()) {
        (Some(user), Some(password), None) => Ok(Command::Auth {
            user: user.to_owned(),
            password: password.to_owned(),
        }),
        _ => Err(bad()),
    }
}

fn mail(rest: &str) -> Result<Command, Reply> {
    let (from, parameters) = path(rest, "FROM:", true)?;
    let mut envelope = Envelope {
        from,
        ..Envelope::default()
    };
    for parameter in parameters.split(' ').filter(|p| !p.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match (
            name.to_ascii_uppercase().as_str(),
            value.to_ascii_uppercase().as_str(),
        ) {
            ("SIZE", size) => {
                let size = size
                    .parse()
                    .map_err(|_| Reply::new(501, "5.5.4 SIZE is not a number"))?;
                envelope.size = Some(size);
            }
            ("BODY", "8BITMIME") => envelope.is_8bit = true,
            ("BODY", "7BIT") => envelope.is_8bit = false,
            _ => return Err(Reply::new(555, "5.5.4 no such parameter")),
        }
    }
    Ok(Command::Mail(envelope))
}

fn rcpt(rest: &str) -> Result<Command, Reply> {
    let (to, parameters) = path(rest, "TO:", false)?;
    if parameters.is_empty() {
        Ok(Command::Rcpt(to))
    } else {
        Err(Reply::new(555, "5.5.4 no such parameter"))
    }
}

/// The address between angle brackets, and what follows it.
fn path<'a>(rest: &'a str, word: &str, may_be_null: bool) -> Result<(String, &'a str), Reply> {
    let bad = || Reply::new(501, "5.1.3 not an address in angle brackets");
    let (head, tail) = rest.split_at_checked(word.len()).ok_or_else(bad)?;
    if !head.eq_ignore_ascii_case(word) {
        return Err(Reply::new(501, format!("5.5.4 expected {word}<address>")));
    }
    let (address, tail) = tail
        .strip_prefix('<')
        .and_then(|t| t.split_once('>'))
        .ok_or_else(bad)?;
    let is_null = address.is_empty() && may_be_null;
    if !is_null && !is_address(address) {
        return Err(bad());
    }
    if !tail.is_empty() && !tail.starts_with(' ') {
        return Err(bad());
    }
    Ok((address.to_owned(), tail.trim()))
}

fn is_address(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !"<>()[]\\,;:\"".contains(c);
    text.len() <= 254
        && text.chars().all(plain)
        && text
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && domain.contains('.') && !domain.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_by_the_book_is_refused() {
        for (line, code) in [
            ("MAIL FROM:anna@nassjo.se", 501),
            ("MAIL FROM: <anna@nassjo.se>", 501),
            ("MAIL FROM:<anna@nassjo.se>x", 501),
            ("MAIL FROM:<anna@nassjo.se> RET=FULL", 555),
            ("MAIL TO:<anna@nassjo.se>", 501),
            ("RCPT TO:<>", 501),
            ("RCPT TO:<a@b@c.se>", 501),
            ("RCPT TO:<å@nassjo.se>", 501),
            ("RCPT TO:<a\rb@c.se>", 501),
            ("RCPT TO:<anna@nassjo.se> NOTIFY=NEVER", 555),
            ("DATA now", 501),
            ("EHLO", 501),
            ("AUTH LOGIN", 504),
            ("AUTH PLAIN ???", 501),
            ("STARTTLS", 500),
            ("", 500),
        ] {
            assert_eq!(Command::parse(line).unwrap_err().code, code, "{line:?}");
        }
    }

    #[test]
    fn what_is_by_the_book_is_understood() {
        assert_eq!(
            Command::parse("mail from:<kris@nassjo.se> SIZE=120 BODY=8BITMIME"),
            Ok(Command::Mail(Envelope {
                from: "kris@nassjo.se".into(),
                to: vec![],
                size: Some(120),
                is_8bit: true
            }))
        );
        assert_eq!(Command::parse("MAIL FROM:<>").unwrap().stage(), "mail:");
        assert_eq!(
            Command::parse("RCPT TO:<anna@example.se>").unwrap().stage(),
            "rcpt:anna@example.se"
        );
    }
}
