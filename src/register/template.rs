//! The register's pages and letters from their templates: strict, and escaped where the page is HTML.

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};

use crate::channel::html::escape;

/// Fills a template; `name` ends with `.html` where everything has to be escaped.
///
/// # Errors
/// If the template is broken; the text says which.
pub(super) fn fill(name: &str, source: &str, values: Value) -> Result<String, String> {
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
    environment
        .add_template(name, source)
        .and_then(|()| environment.get_template(name))
        .and_then(|template| template.render(values))
        .map_err(|error| error.to_string())
}
