//! The addresses of list files, one line at a time. What is wrong with a line is told with its number and without what
//! stands in it: a list holds people's own addresses, and faults go to logs and screens.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use super::Files;
use crate::model::{AddressKind, Recipient};

/// Longest line, in bytes.
const MAX_LINE: u64 = 64 * 1024;

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1; 0 if it is the file as a whole.
    pub line: u64,
    /// What is wrong. Holds no address.
    pub text: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}", self.text)
    }
}

/// Reads the files of a list. Gives each address, or what is wrong with its line.
#[derive(Debug)]
pub struct Reader {
    paths: VecDeque<Result<PathBuf, Fault>>,
    column: Option<String>,
    kind: AddressKind,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    lines: BufReader<File>,
    line: u64,
    form: Form,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    /// A file whose header has not been read yet.
    Header,
    /// Separated by this, the address in the column of this number, of so many.
    Csv { by: char, at: usize, of: usize },
    /// An object, or a plain text, on each line.
    Json,
}

impl Reader {
    /// A reader of the files, from their beginning.
    pub fn new(files: &Files, kind: AddressKind) -> Self {
        Self {
            paths: files.paths().into(),
            column: files.column.clone(),
            kind,
            open: None,
        }
    }

    /// The names of the column in order of preference.
    fn columns(&self) -> Vec<&str> {
        match (&self.column, self.kind) {
            (Some(column), _) => vec![column.as_str()],
            (None, AddressKind::Mail) => vec!["email", "e-mail", "mail", "epost", "e-post", "e-postadress"],
            (None, AddressKind::Phone) => vec![
                "phone",
                "mobile",
                "telefon",
                "mobil",
                "telefonnummer",
                "mobilnummer",
            ],
            (None, AddressKind::Push) => vec!["subscription"],
        }
    }

    /// What the next line gives; `None` at the end of the file.
    fn line(&mut self) -> Option<Result<Option<Recipient>, Fault>> {
        let open = self.open.as_mut()?;
        let mut bytes = Vec::new();
        open.line += 1;
        let (file, line) = (open.path.clone(), open.line);
        let fault = |text: String| Fault { file, line, text };
        match (&mut open.lines).take(MAX_LINE).read_until(b'\n', &mut bytes) {
            Ok(0) => {
                let unread = matches!(open.form, Form::Header);
                self.open = None;
                return unread.then(|| Err(fault("is empty; the first line names the columns".to_owned())));
            }
            Ok(_) => {}
            Err(error) => {
                self.open = None;
                return Some(Err(fault(format!("cannot be read: {error}"))));
            }
        }
        if bytes.len() as u64 >= MAX_LINE && !bytes.ends_with(b"\n") {
            // What follows cannot be told from it.
            self.open = None;
            return Some(Err(fault(format!(
                "is longer than {MAX_LINE} bytes; the file is not read further"
            ))));
        }
        let Ok(text) = std::str::from_utf8(&bytes) else {
            return Some(Err(fault("is not UTF-8 text; save the file as UTF-8".to_owned())));
        };
        let text = text.trim_start_matches('\u{feff}').trim_end_matches(['\n', '\r']);
        if text.trim().is_empty() {
            return Some(Ok(None));
        }
        let form = open.form;
        Some(self.entry(form, text).map_err(fault))
    }

    fn entry(&mut self, form: Form, text: &str) -> Result<Option<Recipient>, String> {
        match form {
            Form::Header => {
                let header = header(text, &self.columns());
                let Some(open) = self.open.as_mut() else {
                    return Ok(None);
                };
                match header {
                    Ok(form) => open.form = form,
                    Err(wrong) => {
                        // Without its columns nothing of the file can be read.
                        self.open = None;
                        return Err(wrong);
                    }
                }
                Ok(None)
            }
            Form::Csv { by, at, of } => {
                let fields = fields(text, by)?;
                if fields.len() != of {
                    return Err(format!("has {} fields; the first line has {of}", fields.len()));
                }
                let address = fields.get(at).map_or("", String::as_str);
                self.kind.read(address).map(Some)
            }
            Form::Json => self.json(text).map(Some),
        }
    }

    fn json(&self, text: &str) -> Result<Recipient, String> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|_| "is not JSON; each line is one object".to_owned())?;
        if let Some(text) = value.as_str() {
            return self.kind.read(text);
        }
        let named = self.columns().into_iter().find_map(|name| value.get(name));
        match (named, self.kind) {
            (Some(serde_json::Value::String(text)), _) => self.kind.read(text),
            (Some(value), AddressKind::Push) => self.kind.read(&value.to_string()),
            (None, AddressKind::Push) if self.column.is_none() => self.kind.read(text),
            (Some(_), _) => Err("holds something else than a text as its address".to_owned()),
            (None, _) => Err(format!("has no key {}", self.columns().join(" or "))),
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Recipient, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.line() {
                Some(Ok(Some(recipient))) => return Some(Ok(recipient)),
                Some(Err(fault)) => return Some(Err(fault)),
                Some(Ok(None)) => {}
                None => {
                    let path = match self.paths.pop_front()? {
                        Ok(path) => path,
                        Err(fault) => return Some(Err(fault)),
                    };
                    let json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("jsonl"));
                    match File::open(&path) {
                        Ok(file) => {
                            self.open = Some(Open {
                                path,
                                lines: BufReader::new(file),
                                line: 0,
                                form: if json { Form::Json } else { Form::Header },
                            });
                        }
                        Err(error) => {
                            return Some(Err(Fault {
                                file: path,
                                line: 0,
                                text: format!("cannot be opened: {error}"),
                            }));
                        }
                    }
                }
            }
        }
    }
}

/// Finds the address's column. Swedish spreadsheets separate by semicolons.
fn header(text: &str, wanted: &[&str]) -> Result<Form, String> {
    let by = [';', '\t']
        .into_iter()
        .find(|by| text.contains(*by))
        .unwrap_or(',');
    let names: Vec<String> = fields(text, by)?
        .iter()
        .map(|name| name.trim().to_lowercase())
        .collect();
    let at = wanted
        .iter()
        .find_map(|want| names.iter().position(|name| *name == want.to_lowercase()));
    match at {
        Some(at) => Ok(Form::Csv {
            by,
            at,
            of: names.len(),
        }),
        None => Err(format!(
            "the first line names no column {}; name the one that holds the address with column = \"…\"",
            wanted.join(" or ")
        )),
    }
}

/// The fields of a line (RFC 4180). A field may not hold a line break: an address has none.
fn fields(text: &str, by: char) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        let mut field = String::new();
        if rest.next_if_eq(&'"').is_some() {
            loop {
                match rest.next() {
                    Some('"') if rest.next_if_eq(&'"').is_some() => field.push('"'),
                    Some('"') => break,
                    Some(c) => field.push(c),
                    None => return Err("has a quotation mark that is not closed on the line".to_owned()),
                }
            }
            if rest.peek().is_some_and(|c| *c != by) {
                return Err("has something after a closing quotation mark".to_owned());
            }
        } else {
            while let Some(c) = rest.next_if(|c| *c != by) {
                field.push(c);
            }
        }
        fields.push(field);
        if rest.next().is_none() {
            return Ok(fields);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str, kind: AddressKind, column: Option<&str>) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let files = Files {
            place: path,
            folder: false,
            column: column.map(str::to_owned),
        };
        Reader::new(&files, kind)
            .map(|entry| match entry {
                Ok(recipient) => recipient.address().to_owned(),
                Err(fault) => format!("{}: {}", fault.line, fault.text),
            })
            .collect()
    }

    #[test]
    fn a_spreadsheet_is_read_as_it_is_saved_in_sweden() {
        let text = "\u{feff}Namn;Telefon\r\n\"Åsa; \"\"Ö\"\"\";070-174 06 05\r\n\r\nBo;0046701740606\r\n";
        assert_eq!(
            read("a.csv", text, AddressKind::Phone, None),
            ["+46701740605", "+46701740606"]
        );
        assert_eq!(
            read(
                "a.csv",
                "name,Privat\nA,a@X.se\n",
                AddressKind::Mail,
                Some("privat")
            ),
            ["a@x.se"]
        );
    }

    #[test]
    fn lines_of_json_may_be_objects_or_plain_texts() {
        let text = "{\"email\":\"a@x.se\",\"name\":\"A\"}\n\"b@x.se\"\n{\"post\":1}\n{\"email\":7}\nx\n";
        let read = read("a.jsonl", text, AddressKind::Mail, None);
        assert_eq!(read[..2], ["a@x.se", "b@x.se"]);
        assert!(read[2].starts_with("3: has no key email"), "{read:?}");
        assert!(read[3].starts_with("4: "), "{read:?}");
        assert!(read[4].starts_with("5: is not JSON"), "{read:?}");
    }

    #[test]
    fn every_faulty_line_is_told_with_its_number_and_without_its_content() {
        let text = "email\na@x.se\nhemlig\nb@x.se,c\n\"öppen\nd@x.se\n";
        let told = read("a.csv", text, AddressKind::Mail, None);
        assert_eq!(told.len(), 5, "{told:?}");
        assert!(told[1].starts_with("3: expected a mail address"), "{told:?}");
        assert!(told[2].starts_with("4: has 2 fields"), "{told:?}");
        assert!(told[3].starts_with("5: has a quotation mark"), "{told:?}");
        assert!(!told.join(" ").contains("hemlig"));
        let wrong = read("a.csv", "namn;ålder\nx;y\n", AddressKind::Mail, None);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(read("a.csv", "", AddressKind::Mail, None)[0].contains("is empty"));
    }

    #[test]
    fn a_line_without_an_end_does_not_fill_the_memory() {
        let text = format!("email\n{}", "x".repeat(200_000));
        let told = read("a.csv", &text, AddressKind::Mail, None);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("is longer than"), "{told:?}");
    }
}
