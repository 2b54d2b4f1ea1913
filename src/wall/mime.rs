//! Reads what a mail says: its headers, and its text as a reader's program would show it. Bounded in depth; never fails,
//! what cannot be read stays as it came.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Parts within parts that are looked into.
const DEPTH: usize = 4;

/// A mail.
#[derive(Debug, Default)]
pub(super) struct Mail {
    headers: Vec<(String, String)>,
    /// The `text/plain` part, decoded, with plain line ends.
    pub text: String,
}

impl Mail {
    /// Reads a message with CRLF line ends.
    pub fn parse(message: &[u8]) -> Self {
        let (headers, body) = split(message);
        let text = text(&headers, body, DEPTH).unwrap_or_default();
        Self {
            headers,
            text: text.replace("\r\n", "\n").trim_end().to_owned(),
        }
    }

    /// The first header of that name, unfolded and decoded.
    pub fn header(&self, name: &str) -> Option<String> {
        raw(&self.headers, name).map(decode_words)
    }

    /// How often a header stands there.
    pub fn count(&self, name: &str) -> usize {
        self.headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .count()
    }
}

fn raw<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// Splits at the empty line; headers unfolded.
fn split(message: &[u8]) -> (Vec<(String, String)>, &[u8]) {
    let (head, body) = if message.starts_with(b"\r\n") {
        (&[][..], message.get(2..).unwrap_or_default())
    } else {
        match find(message, b"\r\n\r\n") {
            Some(at) => (
                message.get(..at).unwrap_or_default(),
                message.get(at + 4..).unwrap_or_default(),
            ),
            None => (message, &[][..]),
        }
    };
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in String::from_utf8_lossy(head).split("\r\n") {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = headers.last_mut() {
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    (headers, body)
}

fn text(headers: &[(String, String)], body: &[u8], depth: usize) -> Option<String> {
    let kind = raw(headers, "content-type").unwrap_or("text/plain");
    let main = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if main.starts_with("multipart/") && depth > 0 {
        let boundary = parameter(kind, "boundary")?;
        return parts(body, &boundary).into_iter().find_map(|part| {
            let (headers, body) = split(part);
            text(&headers, body, depth - 1)
        });
    }
    if main != "text/plain" {
        return None;
    }
    let encoding = raw(headers, "content-transfer-encoding").unwrap_or("7bit");
    let bytes = match encoding.to_ascii_lowercase().as_str() {
        "base64" => base64(body),
        "quoted-printable" => quoted_printable(body),
        _ => body.to_vec(),
    };
    Some(charset(
        &parameter(kind, "charset").unwrap_or_else(|| "utf-8".to_owned()),
        &bytes,
    ))
}

fn parameter(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// The parts between the boundary lines, without preamble and epilogue.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let line = format!("--{boundary}").into_bytes();
    let mut found = Vec::new();
    let mut rest = body;
    let mut is_first = true;
    while let Some(at) = boundary_at(rest, &line) {
        let before = rest.get(..at).unwrap_or_default();
        if !is_first {
            found.push(before.strip_suffix(b"\r\n").unwrap_or(before));
        }
        is_first = false;
        rest = rest.get(at + line.len()..).unwrap_or_default();
        if rest.starts_with(b"--") {
            break;
        }
        rest = find(rest, b"\r\n")
            .and_then(|n| rest.get(n + 2..))
            .unwrap_or_default();
    }
    found
}

/// Where the boundary stands at the start of a line.
fn boundary_at(body: &[u8], line: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = find(body.get(from..)?, line).map(|n| n + from) {
        if at == 0 || body.get(at - 1) == Some(&b'\n') {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn base64(body: &[u8]) -> Vec<u8> {
    let packed: Vec<u8> = body
        .iter()
        .copied()
        .filter(|b| !b.is_ascii_whitespace())
        .collect();
    STANDARD.decode(&packed).unwrap_or_else(|_| body.to_vec())
}

fn quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut bytes = body.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'=' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            // A soft line break.
            Some(b'\r') => drop(bytes.next_if_eq(&b'\n')),
            Some(high) => match (hex_digit(high), bytes.next().and_then(hex_digit)) {
                (Some(high), Some(low)) => out.push(high * 16 + low),
                _ => out.push(b'?'),
            },
            None => {}
        }
    }
    out
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|n| u8::try_from(n).ok())
}

fn charset(name: &str, bytes: &[u8]) -> String {
    match name.to_ascii_lowercase().as_str() {
        "iso-8859-1" | "latin1" => bytes.iter().map(|b| char::from(*b)).collect(),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Decodes the encoded words of RFC 2047; white space between two of them goes.
fn decode_words(value: &str) -> String {
    let mut out = String::new();
    let mut rest = value;
    let mut pending: Vec<u8> = Vec::new();
    while let Some((before, after)) = rest.split_once("=?") {
        let Some((bytes, tail)) = encoded_word(after) else {
            flush(&mut out, &mut pending);
            out.push_str(before);
            out.push_str("=?");
            rest = after;
            continue;
        };
        if pending.is_empty() || !before.trim().is_empty() {
            flush(&mut out, &mut pending);
            out.push_str(before);
        }
        // Kept as bytes: some programs split a letter between two words.
        pending.extend(bytes);
        rest = tail;
    }
    flush(&mut out, &mut pending);
    out.push_str(rest);
    out
}

fn flush(out: &mut String, pending: &mut Vec<u8>) {
    out.push_str(&String::from_utf8_lossy(pending));
    pending.clear();
}

fn encoded_word(text: &str) -> Option<(Vec<u8>, &str)> {
    let (name, rest) = text.split_once('?')?;
    let (how, rest) = rest.split_once('?')?;
    let (data, tail) = rest.split_once("?=")?;
    let bytes = match how {
        "B" | "b" => STANDARD.decode(data).ok()?,
        "Q" | "q" => quoted_printable(data.replace('_', " ").as_bytes()),
        _ => return None,
    };
    Some((charset(name, &bytes).into_bytes(), tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_read_as_its_reader_sees_it() {
        let mail = Mail::parse(
            "Subject: =?utf-8?b?w5ZWTklORzogS29rYQ==?=\r\n =?utf-8?q?_dricksvattnet_=E2=80=93?= nu\r\n\
             Message-ID: <1@nassjo.se>\r\n\
             Content-Type: multipart/alternative;\r\n boundary=\"x--y\"\r\n\r\n\
             förord\r\n--x--y\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: quoted-printable\r\n\r\n\
             Koka allt vatten i N=C3=A4ss=\r\nj=C3=B6.\r\nhttps://nassjo.se/kris?a=3D1\r\n\
             --x--y\r\nContent-Type: text/html\r\n\r\n<p>fel del</p>\r\n--x--y--\r\n"
                .as_bytes(),
        );
        assert_eq!(mail.header("subject").unwrap(), "ÖVNING: Koka dricksvattnet – nu");
        assert_eq!(mail.header("Message-Id").unwrap(), "<1@nassjo.se>");
        assert_eq!(
            mail.text,
            "Koka allt vatten i Nässjö.\nhttps://nassjo.se/kris?a=1"
        );
        assert_eq!(mail.count("message-id"), 1);
    }

    #[test]
    fn base64_and_plain_bodies_are_read_too() {
        let mail = Mail::parse(b"Content-Transfer-Encoding: base64\r\n\r\nw6XD\r\npMO2\r\n");
        assert_eq!(mail.text, "åäö");
        assert_eq!(Mail::parse("\r\nhej å".as_bytes()).text, "hej å");
    }

    #[test]
    fn no_mail_is_too_broken_to_read() {
        for message in [
            "",
            "=?utf-8?b?",
            "Subject: =?x?q?=?=?",
            "Content-Type: multipart/mixed; boundary=\r\n\r\n--\r\n--",
            "Content-Type: multipart/mixed\r\n\r\n",
        ] {
            let mail = Mail::parse(message.as_bytes());
            mail.header("subject");
        }
    }
}
