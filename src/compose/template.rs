//! Strict rendering of the prepared texts.
//!
//! Only files under `templates/messages/` and those of the municipality are compiled. What a sender fills in is data:
//! it is never compiled, so `{{7*7}}` stays `{{7*7}}`. A name that the message does not have is an error, not an
//! empty string; a text that does not end is stopped.

use std::collections::BTreeMap;
use std::io;

use minijinja::{AutoEscape, Environment, UndefinedBehavior};

use super::Texts;
use crate::model::{Kind, Lang};

/// Steps that one text may take: more than the loader allows, so that what `vardkase check` passes also renders.
const FUEL: u64 = 50_000;

/// Longest text that a template may give, in bytes before it is counted; about 20,000 characters.
const OUTPUT_CAP: usize = 20_000;

/// Why a prepared text cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{lang}.{kind}.{part}: {reason}")]
pub struct TemplateFault {
    /// The language of the text.
    pub lang: Lang,
    /// The kind of broadcast.
    pub kind: Kind,
    /// `headline`, `long`, `short` or `sms`.
    pub part: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// The texts of one kind in one language, filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    /// One line.
    pub headline: String,
    /// The whole text.
    pub long: String,
    /// A paragraph.
    pub short: String,
    /// One text message.
    pub sms: String,
}

/// Fills in the texts of `kind` in `lang`.
///
/// # Errors
/// The first text that does not compile, names what it has no value for, or does not end.
pub fn fill(
    texts: &Texts,
    (lang, kind): (Lang, Kind),
    values: &BTreeMap<String, String>,
) -> Result<Filled, TemplateFault> {
    let environment = environment();
    let one = |part, source: &str| {
        render(&environment, source, values).map_err(|reason| TemplateFault {
            lang,
            kind,
            part,
            reason,
        })
    };
    Ok(Filled {
        headline: one("headline", &texts.headline)?,
        long: one("long", &texts.long)?,
        short: one("short", &texts.short)?,
        sms: one("sms", &texts.sms)?,
    })
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment
}

fn render(
    environment: &Environment<'static>,
    source: &str,
    values: &BTreeMap<String, String>,
) -> Result<String, String> {
    let template = environment
        .template_from_str(source)
        .map_err(|error| error.to_string())?;
    let mut output = Capped(Vec::new());
    template
        .render_captured_to(minijinja::Value::from(values.clone()), &mut output)
        .map_err(|error| error.to_string())?;
    String::from_utf8(output.0).map_err(|error| error.to_string())
}

/// Takes no more than [`OUTPUT_CAP`] bytes.
struct Capped(Vec<u8>);

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_CAP {
            return Err(io::Error::other(format!(
                "the text is longer than {OUTPUT_CAP} bytes"
            )));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render_with(source: &str, value: &str) -> Result<String, String> {
        let values = BTreeMap::from([("x".to_owned(), value.to_owned())]);
        render(&environment(), source, &values)
    }

    #[test]
    fn what_a_sender_writes_is_never_compiled() {
        for text in [
            "{{7*7}}",
            "{{ x }}",
            "{% raw %}",
            "{% for a in range(9) %}a{% endfor %}",
            "{# nej #}",
            "<script>alert('å')</script> & \"",
            "\\n ${x} %s $(x) `x`",
        ] {
            assert_eq!(render_with("{{ x }}", text).unwrap(), text);
            assert_eq!(
                render_with("{% if x %}a {{ x }} b{% endif %}", text).unwrap(),
                format!("a {text} b")
            );
        }
    }

    #[test]
    fn a_name_without_a_value_is_an_error_not_an_empty_string() {
        for source in ["{{ y }}", "{% if y %}a{% endif %}", "{{ x }}{{ y.z }}"] {
            assert!(
                render_with(source, "a").unwrap_err().contains("undefined"),
                "{source}"
            );
        }
    }

    #[test]
    fn a_text_that_does_not_end_is_stopped() {
        let loops = "{% for a in range(9999) %}{% for b in range(9999) %}{{ x }}{% endfor %}{% endfor %}";
        for value in ["", "a"] {
            let error = render_with(loops, value).unwrap_err();
            assert!(error.contains("fuel"), "{error}");
        }
        let error =
            render_with("{% for a in range(999) %}{{ x }}{% endfor %}", &"å".repeat(100)).unwrap_err();
        assert!(error.contains("longer") || error.contains("write"), "{error}");
    }
}
