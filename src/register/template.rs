//! The register's pages and letters from their templates: strict, and escaped where the page is HTML.

use minijinja::Value;

/// Fills a template; `name` ends with `.html` where everything has to be escaped.
///
/// # Errors
/// If the template is broken; the text says which.
pub(super) fn fill(name: &str, source: &str, values: Value) -> Result<String, String> {
    let mut environment = crate::mail::environment()?;
    environment
        .add_template_owned(name.to_owned(), source.to_owned())
        .and_then(|()| environment.get_template(name))
        .and_then(|template| template.render(values))
        .map_err(|error| error.to_string())
}
