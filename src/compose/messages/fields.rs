//! `[[field]]`: what the sender fills in.

use std::collections::BTreeMap;

use crate::compose::Field;
use crate::config::section::{Section, quoted};
use crate::model::{Kind, Lang};

/// Most fields of one message: a person under stress fills them in.
const MAX_FIELDS: usize = 20;
const LONGEST_VALUE: u32 = 5000;

/// Names that the template language reads as something else, or that every text may use.
const RESERVED: &[&str] = &[
    "true", "false", "none", "and", "or", "not", "in", "is", "if", "else", "elif", "endif", "for", "endfor",
    "loop", "self", "set", "block", "with", "sender", "link",
];

/// The fields of a message.
#[derive(Debug, Default)]
pub struct Fields {
    /// Those without fault.
    pub sound: Vec<Field>,
    /// The names of the others: that a text uses one is no further fault.
    pub broken: Vec<String>,
    /// Whether a name was at fault, so that nobody can say which names there are.
    pub unnamed: bool,
}

/// Reads every field. One that is broken is left out, but not a reason to leave out the others.
pub fn fields(root: &mut Section<'_>, languages: &[Lang]) -> Fields {
    let sections = root.tables("field");
    if sections.len() > MAX_FIELDS {
        root.problem(
            "field",
            format!(
                "stands {} times; at most {MAX_FIELDS} fields are allowed",
                sections.len()
            ),
        );
    }
    let mut all = Fields::default();
    for mut s in sections {
        let name = name(&mut s, &all.sound);
        all.unnamed |= name.is_none();
        match field(s, name.clone(), languages) {
            Some(field) => all.sound.push(field),
            None => all.broken.extend(name),
        }
    }
    all
}

fn name(s: &mut Section<'_>, others: &[Field]) -> Option<String> {
    const EXPECTED: &str = "a name of a–z, 0–9 and _, such as \"omrade\"";
    let name: String = s.required("name", EXPECTED)?;
    let fits = name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let wrong = if !fits {
        format!(
            "found {}, expected {EXPECTED}, at most 32 long and beginning with a letter",
            quoted(&name)
        )
    } else if RESERVED.contains(&name.as_str()) {
        format!(
            "{} means something else in a template; choose another name",
            quoted(&name)
        )
    } else if others.iter().any(|other| other.name == name) {
        format!(
            "there are two fields named {}; each needs a name of its own",
            quoted(&name)
        )
    } else {
        return Some(name);
    };
    s.problem("name", wrong);
    None
}

fn field(mut s: Section<'_>, name: Option<String>, languages: &[Lang]) -> Option<Field> {
    let label = label(&mut s, languages);
    let help = s.required_text("help", 300, "what to write, in Swedish");
    let per_language = s.optional("per_language", "true or false").unwrap_or(false);
    if !s.has("max_length") {
        s.missing("max_length", "the longest value, in characters");
    }
    let max_length = s
        .number_within("max_length", 1, LONGEST_VALUE)
        .unwrap_or(LONGEST_VALUE) as usize;
    let required = s.required("required", "true or false");
    let kinds = kinds(&mut s);
    let choices = choices(&mut s, max_length, per_language);
    let example = example(&mut s, languages, per_language);
    if per_language {
        for (lang, value) in &example {
            fits(&mut s, "example", value, max_length, &choices, Some(*lang));
        }
    } else if let Some(value) = example.values().next() {
        fits(&mut s, "example", value, max_length, &choices, None);
    }
    let default: Option<String> = s.text(
        "default",
        LONGEST_VALUE as usize,
        "the value taken when none is given",
    );
    if let Some(default) = &default {
        fits(&mut s, "default", default, max_length, &choices, None);
        if required == Some(true) {
            s.problem(
                "default",
                "can never be taken: the field is required; remove one of the two",
            );
        }
    }
    let broken = s.is_broken();
    s.finish();
    if broken {
        return None;
    }
    Some(Field {
        name: name?,
        label,
        help: help?,
        example,
        max_length,
        required: required?,
        choices,
        default,
        kinds,
        per_language,
    })
}

fn label(s: &mut Section<'_>, languages: &[Lang]) -> BTreeMap<Lang, String> {
    let expected = "what the field is called, per language: { sv = \"Område\", en = \"Area\" }";
    if !s.has("label") {
        s.missing("label", expected);
        return BTreeMap::new();
    }
    by_language(s, "label", 80, languages)
}

/// A table with one text per language of the message.
fn by_language(
    s: &mut Section<'_>,
    key: &'static str,
    most: usize,
    languages: &[Lang],
) -> BTreeMap<Lang, String> {
    let mut all = BTreeMap::new();
    let Some(mut table) = s.table(key) else {
        return all;
    };
    for lang in languages.iter().copied() {
        let text = table.required_text(lang.as_str(), most, "a text for each language of the message");
        all.extend(text.map(|text| (lang, text)));
    }
    let broken = table.is_broken();
    table.finish();
    if broken {
        s.break_off();
    }
    all
}

fn example(s: &mut Section<'_>, languages: &[Lang], per_language: bool) -> BTreeMap<Lang, String> {
    let most = LONGEST_VALUE as usize;
    if !s.has("example") {
        s.missing("example", "a value as people would write it; previews use it");
        return BTreeMap::new();
    }
    if s.holds_table("example") {
        if !per_language {
            s.problem("example", "found a table, expected one text: the field has the same value in every language (or set per_language = true)");
        }
        return by_language(s, "example", most, languages);
    }
    if per_language && languages.len() > 1 {
        s.problem("example", "found one value, expected one per language, such as { sv = \"…\", en = \"…\" }: the field has per_language = true");
        return BTreeMap::new();
    }
    s.text("example", most, "a value as people would write it")
        .map(|text| languages.iter().map(|lang| (*lang, text.clone())).collect())
        .unwrap_or_default()
}

fn kinds(s: &mut Section<'_>) -> Vec<Kind> {
    let Some(given) = s.strings("kinds", "a list of initial, update, correction, all-clear") else {
        return Kind::ALL.to_vec();
    };
    let mut kinds = Vec::new();
    for entry in &given {
        match entry.value.parse::<Kind>() {
            Ok(kind) if kinds.contains(&kind) => {
                s.problem_at(entry.place, "kinds", format!("names {:?} twice", entry.value));
            }
            Ok(kind) => kinds.push(kind),
            Err(wrong) => s.problem_at(entry.place, "kinds", wrong),
        }
    }
    if given.is_empty() {
        s.problem(
            "kinds",
            "is empty, so the field would never be asked for; remove the key for all kinds",
        );
    }
    kinds
}

fn choices(s: &mut Section<'_>, max_length: usize, per_language: bool) -> Vec<String> {
    let Some(given) = s.strings("choices", "a list of the only values allowed") else {
        return Vec::new();
    };
    if given.is_empty() {
        s.problem("choices", "is empty; remove the key if any value is allowed");
    }
    if per_language && !given.is_empty() {
        s.problem(
            "choices",
            "cannot stand with per_language = true: choices are the same in every language",
        );
    }
    let mut choices: Vec<String> = Vec::new();
    for entry in given {
        if entry.value.trim().is_empty() {
            s.problem_at(
                entry.place,
                "choices",
                "holds an empty value; an optional field is left out instead",
            );
        } else if entry.value.chars().count() > max_length {
            s.problem_at(
                entry.place,
                "choices",
                format!(
                    "{} is longer than max_length ({max_length})",
                    quoted(&entry.value)
                ),
            );
        } else if choices.contains(&entry.value) {
            s.problem_at(
                entry.place,
                "choices",
                format!("names {} twice", quoted(&entry.value)),
            );
        } else {
            choices.push(entry.value);
        }
    }
    choices
}

/// What holds for a value that a person gives holds for the example and the default too.
fn fits(
    s: &mut Section<'_>,
    key: &str,
    value: &str,
    max_length: usize,
    choices: &[String],
    lang: Option<Lang>,
) {
    let count = value.chars().count();
    let which = lang.map(|lang| format!(" ({lang})")).unwrap_or_default();
    if count > max_length {
        s.problem(
            key,
            format!("is {count} characters long{which}, longer than max_length ({max_length})"),
        );
    }
    if !choices.is_empty() && !choices.iter().any(|choice| choice == value) {
        s.problem(
            key,
            format!(
                "found {}{which}, which is none of the choices: {}",
                quoted(value),
                choices.join(", ")
            ),
        );
    }
}
