//! The texts of one kind in one language: that each is a sound template, uses no field that is not asked for, and comes
//! out as something when it is filled in.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::{AutoEscape, Environment, UndefinedBehavior};

use super::fields::Fields;
use crate::compose::{Field, Texts};
use crate::config::section::{Section, quoted};
use crate::config::source::hint;
use crate::model::{Kind, Lang};

/// Enough for any honest text; ends a loop that does not end.
const FUEL: u64 = 20_000;
const LONGEST_TEXT: usize = 20_000;

/// Reads headline, long, short and sms.
pub fn texts(
    s: &mut Section<'_>,
    lang: Lang,
    kind: Kind,
    fields: &Fields,
    is_built_in: bool,
) -> Option<Texts> {
    let asked: Vec<&Field> = fields
        .sound
        .iter()
        .filter(|field| field.kinds.contains(&kind))
        .collect();
    let mut seen = BTreeSet::new();
    let mut read = |key: &'static str, expected: &str| -> Option<String> {
        let source: String = s.required(key, expected)?;
        let is_sound = is_built_in || check(s, key, &source, lang, kind, &asked, fields, &mut seen);
        is_sound.then_some(source)
    };
    let headline = read("headline", "one line that says what has happened and where");
    let whole = read("long", "the whole text");
    let short = read("short", "a paragraph that stands after the headline");
    let sms = read("sms", "one text message that stands alone");
    if !s.is_broken() && !is_built_in {
        for field in asked {
            let name = &field.name;
            if !seen.contains(name) {
                s.problem("long", format!("the field {name:?} is asked for here, and none of the four texts uses it; use it, or leave {kind:?} out of its kinds", kind = kind.as_str()));
            }
        }
    }
    Some(Texts {
        headline: headline?,
        long: whole?,
        short: short?,
        sms: sms?,
    })
}

#[allow(
    clippy::too_many_arguments,
    reason = "one call site; a struct would only repeat the names"
)]
fn check(
    s: &mut Section<'_>,
    key: &'static str,
    text: &str,
    lang: Lang,
    kind: Kind,
    asked: &[&Field],
    all: &Fields,
    used: &mut BTreeSet<String>,
) -> bool {
    let before = s.source().count();
    if text.trim().is_empty() {
        s.problem(key, "is empty");
        return false;
    }
    if text.chars().count() > LONGEST_TEXT {
        s.problem(key, format!("is longer than {LONGEST_TEXT} characters"));
        return false;
    }
    if key == "headline" && text.contains('\n') {
        s.problem(key, "has several lines; a headline is one line");
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        s.problem(key, "holds a tab or another control character");
    }
    let environment = environment();
    let template = match environment.template_from_str(text) {
        Ok(template) => template,
        Err(error) => {
            report(s, key, text, &error);
            return false;
        }
    };
    let mut has_values = true;
    for name in BTreeSet::from_iter(template.undeclared_variables(false)) {
        if asked.iter().any(|field| field.name == name) {
            used.insert(name);
        } else if all.unnamed || all.broken.contains(&name) {
            has_values = false;
        } else if all.sound.iter().any(|field| field.name == name) {
            let place = place_of_word(s, key, &name);
            s.problem_at(
                place,
                key,
                format!(
                    "uses the field {}, which is not asked for in {:?}; add it to the field's kinds",
                    quoted(&name),
                    kind.as_str()
                ),
            );
        } else {
            let known = asked.iter().map(|field| field.name.as_str());
            let place = place_of_word(s, key, &name);
            s.problem_at(
                place,
                key,
                format!(
                    "uses {}, and there is no such field{}",
                    quoted(&name),
                    hint(&name, known)
                ),
            );
        }
    }
    if s.source().count() > before || !has_values {
        return false;
    }
    // Filled in as people would, with everything and with nothing but what must be given: finds what only shows when a
    // text is made, such as a filter that does not exist.
    for everything in [true, false] {
        let values: BTreeMap<String, String> = asked
            .iter()
            .map(|field| {
                let given = everything || field.required;
                let example = field.example.get(&lang).map(String::as_str);
                let value = if given { example } else { field.default.as_deref() };
                (field.name.clone(), value.unwrap_or_default().to_owned())
            })
            .collect();
        match template.render(values) {
            Ok(text) if text.trim().is_empty() => {
                s.problem(key, "comes out empty when only the required fields are given");
            }
            Ok(_) => {}
            Err(error) => report(s, key, text, &error),
        }
    }
    s.source().count() == before
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment
}

fn report(s: &Section<'_>, key: &str, text: &str, error: &minijinja::Error) {
    let what = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    let what: String = what.chars().take(200).collect();
    let place = place_of_line(s, key, text, error.line().unwrap_or(1));
    s.problem_at(place, key, format!("is not a valid template: {what}"));
}

/// Where line `line` of the text of `key` stands in the file. Exact for texts between """ and for single lines.
fn place_of_line(s: &Section<'_>, key: &str, text: &str, line: usize) -> usize {
    let start = s.place_of(key);
    let raw = s.source().text().get(start..).unwrap_or_default();
    // The line break right after the opening """ belongs to neither.
    let opening = usize::from(raw.starts_with("\"\"\"\n") || raw.starts_with("'''\n"));
    let skip = line.saturating_sub(1) + opening;
    if skip == 0 || line > text.lines().count() {
        return start;
    }
    raw.match_indices('\n')
        .nth(skip - 1)
        .map_or(start, |(at, _)| start + at + 1)
}

/// Where `word` first stands in the text of `key`.
fn place_of_word(s: &Section<'_>, key: &str, word: &str) -> usize {
    let start = s.place_of(key);
    let end = s.end_of(key);
    let raw = s.source().text().get(start..end).unwrap_or_default();
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    raw.match_indices(word)
        .find(|(at, found)| {
            let before = raw.get(..*at).and_then(|text| text.chars().next_back());
            let after = raw.get(at + found.len()..).and_then(|text| text.chars().next());
            // Only between the signs of the template language, and as a whole word.
            let opened = raw.get(..*at).map_or(0, |text| text.matches('{').count());
            let closed = raw.get(..*at).map_or(0, |text| text.matches('}').count());
            opened > closed && !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
        })
        .map_or(start, |(at, _)| start + at)
}
