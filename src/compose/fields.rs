//! What the sender filled in, checked against what the message asks for. Every fault at once.

use std::collections::BTreeMap;

use unicode_normalization::UnicodeNormalization;

use super::{Command, Field, PreparedMessage, kind_word, language_word};
use crate::check::Finding;
use crate::model::Lang;

/// The check that findings of this step bear.
const CHECK: &str = "fields";

/// Most unknown names that are told of; more than that is not a slip of the hand.
const MOST_UNKNOWN: usize = 20;

/// The value of every field that the message asks for, per language.
pub type Values = BTreeMap<Lang, BTreeMap<String, String>>;

/// Checks what was filled in and gives the values per language. Fields that need not be filled in and were not are
/// empty. What belongs to a language that is not asked for is checked but not used.
///
/// # Errors
/// Every fault, each with what to write instead.
pub fn values(
    command: &Command,
    message: &PreparedMessage,
    languages: &[Lang],
) -> Result<Values, Vec<Finding>> {
    let mut faults = unknown_names(command, message);
    let mut values: Values = languages.iter().map(|lang| (*lang, BTreeMap::new())).collect();
    for field in message
        .fields
        .iter()
        .filter(|field| field.is_asked_for(command.kind))
    {
        let given = |lang: Lang| command.fields.get(&key(field, lang));
        for lang in Lang::ALL.iter().copied() {
            let wanted = languages.contains(&lang);
            if !field.per_language && lang != Lang::Sv {
                continue;
            }
            let value = match given(lang) {
                Some(raw) => {
                    let value = clean(raw);
                    faults.extend(faults_of(field, &key(field, lang), &value));
                    value
                }
                None => field.default.clone().unwrap_or_default(),
            };
            if field.per_language {
                if wanted {
                    let elsewhere = Lang::ALL
                        .iter()
                        .any(|other| given(*other).is_some_and(|raw| !raw.trim().is_empty()));
                    if value.is_empty() && (field.required || elsewhere) {
                        faults.push(missing(field, lang));
                    }
                    if let Some(values) = values.get_mut(&lang) {
                        values.insert(field.name.clone(), value);
                    }
                }
            } else {
                if value.is_empty() && field.required {
                    faults.push(missing(field, lang));
                }
                for values in values.values_mut() {
                    values.insert(field.name.clone(), value.clone());
                }
            }
        }
    }
    if faults.is_empty() {
        Ok(values)
    } else {
        Err(faults)
    }
}

/// The name that a field's value has on the command line.
fn key(field: &Field, lang: Lang) -> String {
    match lang {
        Lang::Sv => field.name.clone(),
        Lang::En => format!("{}.{lang}", field.name),
    }
}

/// What people see of a field: `Område (omrade)`.
fn label(field: &Field) -> String {
    field
        .label
        .get(&Lang::Sv)
        .map_or_else(|| field.name.clone(), |label| format!("{label} ({})", field.name))
}

fn missing(field: &Field, lang: Lang) -> Finding {
    let key = key(field, lang);
    let example = field
        .example
        .get(&lang)
        .or_else(|| field.example.get(&Lang::Sv))
        .map(|example| format!(", till exempel \"{example}\""))
        .unwrap_or_default();
    let wanting = if field.per_language {
        format!("saknar text på {}", language_word(lang))
    } else {
        "måste fyllas i".to_owned()
    };
    Finding::block(
        CHECK,
        None,
        format!(
            "Fältet {} {wanting}. Lägg till -f {key}=…{example}.",
            label(field)
        ),
    )
}

/// The value with composed letters, one kind of line break, nothing at its ends, and without signs that have no width
/// and come along unseen when a text is copied from a web page.
fn clean(raw: &str) -> String {
    let text: String = raw
        .replace("\r\n", "\n")
        .chars()
        .filter(|c| !matches!(c, '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}'))
        .nfc()
        .collect();
    text.trim().to_owned()
}

fn faults_of(field: &Field, key: &str, value: &str) -> Vec<Finding> {
    let mut faults = Vec::new();
    let mut fault = |text: String| faults.push(Finding::block(CHECK, None, text));
    let length = value.chars().count();
    if length > field.max_length {
        fault(format!(
            "Fältet {} är för långt: {length} tecken av högst {}. Korta {key} med {} tecken.",
            label(field),
            field.max_length,
            length - field.max_length
        ));
    }
    if let Some(bad) = value.chars().find(|c| is_forbidden(*c, field.takes_lines())) {
        let what = if bad == '\n' {
            "en radbrytning. Skriv allt på en rad".to_owned()
        } else {
            format!(
                "ett dolt tecken (U+{:04X}). Skriv om texten för hand",
                u32::from(bad)
            )
        };
        fault(format!("Fältet {} innehåller {what}.", label(field)));
    }
    if !field.choices.is_empty() && !value.is_empty() && !field.choices.iter().any(|choice| choice == value) {
        fault(format!(
            "Fältet {} kan inte vara \"{}\". Välj något av: {}.",
            label(field),
            shown(value),
            field.choices.join(", ")
        ));
    }
    faults
}

/// What must not reach a channel: control characters, line breaks where a line is meant, signs that turn the direction
/// of writing (a text could then read otherwise than it stands), and what is no character.
fn is_forbidden(c: char, lines: bool) -> bool {
    match c {
        '\n' => !lines,
        '\u{61c}'
        | '\u{200e}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{fffe}'..='\u{ffff}' => true,
        c => c.is_control(),
    }
}

/// What was written, safe to show: short, on one line.
fn shown(text: &str) -> String {
    text.chars()
        .map(|c| if is_forbidden(c, false) { '·' } else { c })
        .take(60)
        .collect()
}

/// Names that the message does not have, or not in this kind of broadcast, or not in that language.
fn unknown_names(command: &Command, message: &PreparedMessage) -> Vec<Finding> {
    let asked: Vec<&Field> = message
        .fields
        .iter()
        .filter(|field| field.is_asked_for(command.kind))
        .collect();
    let mut keys: Vec<String> = Vec::new();
    for field in &asked {
        for lang in Lang::ALL {
            if field.per_language || *lang == Lang::Sv {
                keys.push(key(field, *lang));
            }
        }
    }
    let mut faults = Vec::new();
    let unknown = command.fields.keys().filter(|given| !keys.contains(given));
    for given in unknown.take(MOST_UNKNOWN) {
        let stem = given.split_once('.').map_or(given.as_str(), |(stem, _)| stem);
        let text = if let Some(field) = asked
            .iter()
            .find(|field| field.name == stem && !field.per_language)
        {
            format!(
                "Fältet {} är lika på alla språk. Skriv bara -f {}=….",
                label(field),
                field.name
            )
        } else if let Some(field) = message.fields.iter().find(|field| field.name == stem) {
            if field.is_asked_for(command.kind) {
                format!(
                    "Fältet {} finns inte som {}. Skriv {}.",
                    label(field),
                    shown(given),
                    keys_of(field)
                )
            } else {
                format!(
                    "Fältet {} används inte i {}. Ta bort -f {}=….",
                    label(field),
                    kind_word(command.kind),
                    shown(given)
                )
            }
        } else {
            let nearest = nearest(given, &keys).map_or_else(
                || format!("Fälten är: {}", keys.join(", ")),
                |name| format!("Menade du {name}?"),
            );
            let stop = if nearest.ends_with('?') { "" } else { "." };
            format!(
                "Meddelandet {} har inget fält som heter {}. {nearest}{stop}",
                message.id,
                shown(given)
            )
        };
        faults.push(Finding::block(CHECK, None, text));
    }
    faults
}

fn keys_of(field: &Field) -> String {
    let keys: Vec<_> = Lang::ALL
        .iter()
        .map(|lang| format!("-f {}=…", key(field, *lang)))
        .collect();
    keys.join(" eller ")
}

/// The known name that is most like what was written, if any is.
fn nearest<'a>(given: &str, known: &'a [String]) -> Option<&'a String> {
    let given: String = given.chars().take(60).flat_map(char::to_lowercase).collect();
    known
        .iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(&given, name), name))
        .filter(|(likeness, _)| *likeness > 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::examples::{command, message};
    use crate::model::Kind;

    const BOTH: &[Lang] = &[Lang::Sv, Lang::En];

    fn texts(given: &[(&str, &str)], kind: Kind, languages: &[Lang]) -> Vec<String> {
        let mut command = command(given);
        command.kind = kind;
        match values(&command, &message(), languages) {
            Ok(_) => Vec::new(),
            Err(faults) => {
                assert!(
                    faults
                        .iter()
                        .all(|f| f.check == "fields" && f.level == crate::check::Level::Block)
                );
                faults.into_iter().map(|fault| fault.text).collect()
            }
        }
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let found = texts(
            &[
                ("omrde", "Forserum"),
                ("tid", "x".repeat(13).as_str()),
                ("typ", "orkan"),
                ("info", "Ta med\ndunkar."),
                ("info.de", "Wasser"),
                ("typ.en", "storm"),
                ("nytt", "Nej"),
            ],
            Kind::Initial,
            BOTH,
        );
        insta::assert_snapshot!(found.join("\n"));
    }

    #[test]
    fn a_text_in_one_language_is_wanted_in_the_other_too() {
        let found = texts(
            &[("omrade", "Forserum"), ("info", "Ta med dunkar.")],
            Kind::Initial,
            BOTH,
        );
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("-f info.en=…"), "{}", found[0]);
        assert!(
            texts(
                &[("omrade", "Forserum"), ("info", "Ta med.")],
                Kind::Initial,
                &[Lang::Sv]
            )
            .is_empty()
        );
        assert!(texts(&[("omrade", "Forserum")], Kind::Initial, BOTH).is_empty());
        let found = texts(&[("omrade", "Forserum"), ("nytt", "Nytt.")], Kind::Update, BOTH);
        assert!(found[0].contains("-f nytt.en=…"), "{}", found[0]);
    }

    #[test]
    fn values_are_per_language_and_optional_ones_empty() {
        let command = command(&[
            ("omrade", " Forserum "),
            ("info", "Vatten\u{200b}"),
            ("info.en", "Water"),
        ]);
        let values = values(&command, &message(), BOTH).unwrap();
        assert_eq!(values[&Lang::Sv]["omrade"], "Forserum");
        assert_eq!(values[&Lang::En]["omrade"], "Forserum");
        assert_eq!(
            (
                values[&Lang::Sv]["info"].as_str(),
                values[&Lang::En]["info"].as_str()
            ),
            ("Vatten", "Water")
        );
        assert_eq!(values[&Lang::Sv]["tid"], "");
        assert_eq!(values[&Lang::Sv]["typ"], "storm", "the default");
        assert!(
            !values[&Lang::Sv].contains_key("nytt"),
            "not asked for in this kind"
        );
    }

    #[test]
    fn hidden_signs_are_refused_in_every_field() {
        for bad in [
            '\0', '\u{7}', '\t', '\r', '\u{1b}', '\u{7f}', '\u{85}', '\u{200e}', '\u{202e}', '\u{2028}',
            '\u{2029}', '\u{2066}', '\u{2069}', '\u{ffff}',
        ] {
            for name in ["omrade", "fri"] {
                let value = format!("a{bad}b");
                let mut given = vec![("omrade", "Forserum")];
                given.retain(|(key, _)| *key != name);
                given.push((name, &value));
                let found = texts(&given, Kind::Initial, &[Lang::Sv]);
                assert_eq!(found.len(), 1, "{bad:?} in {name}: {found:?}");
            }
        }
        let lines = [("omrade", "Forserum"), ("fri", "Första.\r\n\r\nAndra.")];
        assert!(texts(&lines, Kind::Initial, &[Lang::Sv]).is_empty());
        let command = command(&lines);
        let values = values(&command, &message(), &[Lang::Sv]).unwrap();
        assert_eq!(values[&Lang::Sv]["fri"], "Första.\n\nAndra.");
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert!(texts(&[("omrade", &"å".repeat(30))], Kind::Initial, &[Lang::Sv]).is_empty());
        let found = texts(&[("omrade", &"å".repeat(31))], Kind::Initial, &[Lang::Sv]);
        assert!(found[0].contains("31 tecken av högst 30"), "{}", found[0]);
        assert!(texts(&[("omrade", &"a\u{30a}".repeat(30))], Kind::Initial, &[Lang::Sv]).is_empty());
    }
}
