//! Reads `multipart/form-data`: what adapters upload pictures with.

use http::HeaderMap;

/// One field of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field<'a> {
    /// Its name.
    pub name: String,
    /// What the file is called; `None` if it is no file.
    pub file_name: Option<String>,
    /// The media type, if one was given.
    pub media_type: Option<String>,
    /// The value.
    pub value: &'a [u8],
}

impl Field<'_> {
    /// The value as text.
    pub fn text(&self) -> Option<String> {
        String::from_utf8(self.value.to_vec()).ok()
    }
}

/// The fields of a form, in order; `None` if it is not one, or not well formed.
pub(super) fn fields<'a>(headers: &HeaderMap, body: &'a [u8]) -> Option<Vec<Field<'a>>> {
    let kind = headers.get("content-type")?.to_str().ok()?;
    let rest = kind.strip_prefix("multipart/form-data")?;
    let boundary = parameter(rest, "boundary")?;
    let opening = format!("--{boundary}");
    let between = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(opening.as_bytes())?;
    let mut found = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Some(found);
        }
        rest = rest.strip_prefix(b"\r\n")?;
        let (head, after) = cut(rest, b"\r\n\r\n")?;
        let (value, after) = cut(after, between.as_bytes())?;
        found.push(field(std::str::from_utf8(head).ok()?, value)?);
        rest = after;
    }
}

fn field<'a>(head: &str, value: &'a [u8]) -> Option<Field<'a>> {
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let disposition = header("content-disposition")?.strip_prefix("form-data")?;
    Some(Field {
        name: parameter(disposition, "name")?,
        file_name: parameter(disposition, "filename"),
        media_type: header("content-type").map(str::to_owned),
        value,
    })
}

/// The value of `; name=value` or `; name="value"`.
fn parameter(text: &str, name: &str) -> Option<String> {
    text.split(';').find_map(|part| {
        let (key, value) = part.trim().split_once('=')?;
        (key == name).then(|| value.trim_matches('"').to_owned())
    })
}

/// What stands before and after the first `mark`.
fn cut<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(mark.len()).position(|window| window == mark)?;
    Some((text.get(..at)?, text.get(at + mark.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_and_what_is_none_is_not() {
        let mut headers = HeaderMap::new();
        let body = b"--x\r\nContent-Disposition: form-data; name=\"caption\"\r\n\r\nK\xc3\xb6k\r\n--x\r\n\
            Content-Disposition: form-data; name=\"photo\"; filename=\"bild.png\"\r\nContent-Type: image/png\r\n\r\n\r\n\0\r\n--x--\r\n";
        assert_eq!(fields(&headers, body), None, "no content type");
        headers.insert("content-type", "multipart/form-data; boundary=x".parse().unwrap());
        let form = fields(&headers, body).unwrap();
        assert_eq!(form.len(), 2);
        assert_eq!(form[0].text().as_deref(), Some("Kök"));
        assert_eq!(form[1].file_name.as_deref(), Some("bild.png"));
        assert_eq!(form[1].media_type.as_deref(), Some("image/png"));
        assert_eq!(form[1].value, b"\r\n\0");
        for broken in [&b""[..], b"--x", b"--x\r\n\r\n\r\nabc", b"--y--"] {
            assert_eq!(fields(&headers, broken), None, "{broken:?}");
        }
    }
}
