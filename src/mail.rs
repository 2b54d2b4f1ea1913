//! How the mails look that the daemon writes of itself: text and HTML from the same values, in one frame. Pure.
//!
//! The HTML stands alone: no pictures, no style and no script from anywhere, one column, headings in order, every value
//! escaped. What a mark tells by its colour it also tells in words.

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};

use crate::channel::html::escape;
use crate::config::Municipality;
use crate::model::Letter;

const FRAME: &str = include_str!("../templates/mail/frame.html");

/// The two templates of a mail. The HTML one extends `frame.html` and fills its block `content`.
#[derive(Debug, Clone, Copy)]
pub struct Sheet {
    /// What it is called in errors, without an ending.
    pub name: &'static str,
    /// As HTML.
    pub html: &'static str,
    /// As text.
    pub text: &'static str,
}

/// Writes a letter: both templates get `subject`, `sender`, `site` and the values as `of`.
///
/// # Errors
/// If a template is broken; the text says which.
pub fn write(
    sheet: Sheet,
    subject: String,
    municipality: &Municipality,
    of: Value,
) -> Result<Letter, String> {
    let values = context! {
        subject => subject.as_str(),
        sender => municipality.name.as_str(),
        site => municipality.site.as_str(),
        of,
    };
    let (html_name, text_name) = (format!("{}.html", sheet.name), format!("{}.txt", sheet.name));
    let mut environment = environment()?;
    environment
        .add_template("frame.html", FRAME)
        .and_then(|()| environment.add_template_owned(html_name.clone(), sheet.html))
        .and_then(|()| environment.add_template_owned(text_name.clone(), sheet.text))
        .map_err(|error| error.to_string())?;
    let fill = |name: &str| {
        let template = environment.get_template(name);
        template
            .and_then(|template| template.render(&values))
            .map_err(|error| format!("{error:#}"))
    };
    let (html, text) = (fill(&html_name)?, fill(&text_name)?);
    Ok(Letter {
        subject,
        text: crate::compose::layout::tidy(&text),
        html: Some(html),
    })
}

/// Strict, and escaping where the name ends with `.html`.
///
/// # Errors
/// Never for the syntax that stands here.
pub(crate) fn environment() -> Result<Environment<'static>, String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build();
    environment.set_syntax(syntax.map_err(|error| error.to_string())?);
    environment.set_auto_escape_callback(|name| {
        let html = std::path::Path::new(name)
            .extension()
            .is_some_and(|e| e == "html");
        if html { AutoEscape::Html } else { AutoEscape::None }
    });
    // Our own escaping leaves "/" as it is: a link stays one that people can read in the source.
    environment.set_formatter(|out, state, value| {
        if matches!(state.auto_escape(), AutoEscape::Html) && !value.is_safe() && !value.is_none() {
            return Ok(out.write_str(&escape(&value.to_string()))?);
        }
        minijinja::escape_formatter(out, state, value)
    });
    Ok(environment)
}
