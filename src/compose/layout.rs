//! How the filled-in texts become what residents read: marking, headline, text, sender, link. The link stands last.

use unicode_normalization::UnicodeNormalization;
use url::Url;

use super::template::Filled;
use crate::config::Municipality;
use crate::model::{Lang, Mode, Variant};

/// The page with basic information: the message's page below the municipality's site. Whatever `page` holds, the
/// address stays below the site, because what is joined is always a relative path.
///
/// # Errors
/// If the two do not make an address.
pub fn link(municipality: &Municipality, page: &str) -> Result<Url, String> {
    let mut base = municipality.site.clone();
    if !base.path().ends_with('/') {
        let path = format!("{}/", base.path());
        base.set_path(&path);
    }
    base.join(&format!("./{}", page.trim_start_matches(['/', '\\'])))
        .map_err(|error| error.to_string())
}

/// One line: the marking and the headline of the first language.
pub fn headline(mode: Mode, texts: &[(Lang, Filled)]) -> String {
    let Some((lang, filled)) = texts.first() else {
        return String::new();
    };
    format!("{}{}", mode.marking(*lang), one_line(&filled.headline))
        .nfc()
        .collect()
}

/// A headline as it stands everywhere, so that it is known again at the head of a text.
fn one_line(headline: &str) -> String {
    let words: Vec<&str> = headline.split_whitespace().collect();
    words.join(" ")
}

/// The whole text of a variant, in all languages.
///
/// Long and short: a block per language (marking, headline, text), then the sender and the link on lines of their own.
/// Text message: marking, sender, text, link; the sender is named once.
pub fn text(variant: Variant, mode: Mode, texts: &[(Lang, Filled)], sender: &str, link: &Url) -> String {
    let block = |lang: Lang, filled: &Filled, body: &str| {
        format!(
            "{}{}\n\n{}",
            mode.marking(lang),
            one_line(&filled.headline),
            body.trim()
        )
    };
    let join = |body: fn(&Filled) -> &str| {
        let blocks: Vec<_> = texts.iter().map(|(lang, f)| block(*lang, f, body(f))).collect();
        format!("{}\n\n{sender}\n{link}", blocks.join("\n\n"))
    };
    let text = match variant {
        Variant::Long => join(|filled| &filled.long),
        Variant::Short => join(|filled| &filled.short),
        Variant::Sms => {
            let lines: Vec<_> = texts
                .iter()
                .enumerate()
                .map(|(n, (lang, filled))| {
                    let sender = if n == 0 {
                        format!("{sender}: ")
                    } else {
                        String::new()
                    };
                    format!("{}{sender}{}", mode.marking(*lang), filled.sms.trim())
                })
                .collect();
            let before_link = if lines.len() > 1 { '\n' } else { ' ' };
            format!("{}{before_link}{link}", lines.join("\n"))
        }
    };
    tidy(&text)
}

/// The text with composed letters, without blanks at line ends, and with never more than one empty line in a row.
pub fn tidy(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in text.trim().lines().map(str::trim_end) {
        if !(line.is_empty() && lines.last().is_some_and(|last| last.is_empty())) {
            lines.push(line);
        }
    }
    lines.join("\n").nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::examples::municipality;

    fn filled(word: &str) -> Filled {
        Filled {
            headline: format!("{word}  rubrik\n"),
            long: format!("\n{word} lång\n\n\n\ntext\n"),
            short: format!("{word} kort"),
            sms: format!("{word} sms\n"),
        }
    }

    #[test]
    fn the_layout_is_the_contract() {
        let link = link(&municipality(), "/kris/vatten").unwrap();
        let one = vec![(Lang::Sv, filled("sv"))];
        let two = vec![(Lang::Sv, filled("sv")), (Lang::En, filled("en"))];
        let text = |variant, mode, texts: &[_]| text(variant, mode, texts, "Nässjö kommun", &link);
        assert_eq!(
            text(Variant::Long, Mode::Live, &one),
            "sv rubrik\n\nsv lång\n\ntext\n\nNässjö kommun\nhttps://nassjo.se/kris/vatten"
        );
        assert_eq!(
            text(Variant::Short, Mode::Drill, &two),
            "ÖVNING: sv rubrik\n\nsv kort\n\nEXERCISE: en rubrik\n\nen kort\n\nNässjö kommun\nhttps://nassjo.se/kris/vatten"
        );
        assert_eq!(
            text(Variant::Sms, Mode::Live, &one),
            "Nässjö kommun: sv sms https://nassjo.se/kris/vatten"
        );
        assert_eq!(
            text(Variant::Sms, Mode::Drill, &two),
            "ÖVNING: Nässjö kommun: sv sms\nEXERCISE: en sms\nhttps://nassjo.se/kris/vatten"
        );
        assert_eq!(headline(Mode::Drill, &two), "ÖVNING: sv rubrik");
    }

    #[test]
    fn the_link_never_leaves_the_site() {
        let mut municipality = municipality();
        for page in [
            "//ond.example/x",
            "https://ond.example/",
            "\\\\ond.example",
            "javascript:x",
            "../../x",
            "",
            "/",
        ] {
            let link = link(&municipality, page).unwrap();
            assert_eq!(
                (link.scheme(), link.host_str()),
                ("https", Some("nassjo.se")),
                "{page}"
            );
        }
        municipality.site = "http://127.0.0.1:8080/webb".parse().unwrap();
        let link = link(&municipality, "/kris/vatten?a=b").unwrap();
        assert_eq!(link.as_str(), "http://127.0.0.1:8080/webb/kris/vatten?a=b");
    }

    #[test]
    fn letters_are_composed_and_empty_lines_squeezed() {
        assert_eq!(tidy(" a\u{30a} \n \n\n\n b \n"), "å\n\n b");
    }
}
