//! A text that is longer than one post, as a thread of numbered parts. Pure, and the same at every attempt: an attempt
//! that goes on after a crash must split the text where the first one did.
//!
//! Words and links are never split, nor a letter from its marks, nor what a no-break space holds together. Every part bears the mode's marking, its number and the sender; the link stands last
//! in the first part and in the last one.

use unicode_segmentation::UnicodeSegmentation;

use super::{TextRule, count};
use crate::model::{Mode, Post, Rendering};

/// Most parts of a thread. Nobody reads further in a crisis, and a service takes it for spam.
pub const MOST: usize = 20;

/// How many posts' worth of text an account takes that allows threads. What a part names besides its text leaves at
/// least half of it, so that this always fits into [`MOST`] parts.
const POSTS: usize = 4;

/// What is split, and what each part has to name.
#[derive(Debug, Clone, Copy)]
pub struct Whole<'a> {
    /// The text as one post would have it: it ends with sender and link.
    pub text: &'a str,
    /// The marking that opens every text of its mode; empty when live.
    pub marking: &'a str,
    /// The sender.
    pub sender: &'a str,
    /// The link, as it stands at the end of the text.
    pub link: &'a str,
}

/// White space that holds words together: `10 000` stays on one line, and in one part.
const HOLDS: [char; 3] = ['\u{a0}', '\u{2007}', '\u{202f}'];

impl<'a> Whole<'a> {
    /// The text of a rendering.
    pub fn of(rendering: &'a Rendering, mode: Mode, sender: &'a str) -> Self {
        let first = rendering.languages.first();
        Self {
            text: &rendering.text,
            marking: first.map_or("", |language| mode.marking(*language)),
            sender: sender.trim(),
            link: rendering.link.as_str(),
        }
    }
}

/// The posts of a delivery whose account takes `rule` in each. Splits whatever is too long: what was accepted as a thread
/// stays one, whatever the configuration says by then. `None` as for [`split`].
pub fn of(post: &Post, sender: &str, rule: &TextRule) -> Option<Vec<String>> {
    split(&Whole::of(&post.rendering, post.mode, sender), rule)
}

/// The rule that a text has to keep on an account that takes threads of posts of `rule`.
pub fn thread_rule(rule: TextRule) -> TextRule {
    TextRule {
        limit: rule.limit.map(|limit| limit * POSTS),
        unit: rule.unit,
        also: rule.also.map(|(limit, unit)| (limit * POSTS, unit)),
    }
}

/// The text in parts that each keep `rule`; the text itself, alone, if it keeps it as it is. `None` if it cannot be
/// split: a word that is longer than a part, or more than [`MOST`] parts.
pub fn split(whole: &Whole<'_>, rule: &TextRule) -> Option<Vec<String>> {
    if fits(whole.text, rule) {
        return Some(vec![whole.text.to_owned()]);
    }
    let pieces = fill(whole, body(whole), rule)?;
    let total = pieces.len();
    let numbered = (1..).zip(pieces);
    Some(
        numbered
            .map(|(number, piece)| dressed(whole, piece, number, total))
            .collect(),
    )
}

/// The text without the marking that every part gets, and without the sender and the link at its end.
fn body<'a>(whole: &Whole<'a>) -> &'a str {
    let text = whole.text.trim();
    let text = text.strip_prefix(whole.marking).unwrap_or(text);
    let text = text.strip_suffix(whole.link).unwrap_or(text).trim_end();
    let alone = text
        .strip_suffix(whole.sender)
        .filter(|before| before.ends_with('\n'));
    alone.unwrap_or(text).trim()
}

fn fits(text: &str, rule: &TextRule) -> bool {
    count::excess(text, rule).is_none()
}

/// One part as it is read.
fn dressed(whole: &Whole<'_>, piece: &str, number: usize, total: usize) -> String {
    let (marking, sender, link) = (whole.marking, whole.sender, whole.link);
    if number == 1 || number == total {
        format!("{marking}{piece}\n\n{number}/{total} {sender}\n{link}")
    } else {
        format!("{marking}{piece}\n\n{number}/{total} {sender}")
    }
}

/// The body in pieces, each short enough for whichever part it becomes: room is left for the longest number and for
/// the link. `None` if a word is longer than that, or if there are too many.
fn fill<'a>(whole: &Whole<'_>, body: &'a str, rule: &TextRule) -> Option<Vec<&'a str>> {
    let takes = |piece: &str| fits(&dressed(whole, piece, MOST, MOST), rule);
    let mut pieces = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (piece, left) = if takes(rest) {
            (rest, "")
        } else {
            take(rest, takes)?
        };
        pieces.push(piece);
        if pieces.len() > MOST {
            return None;
        }
        rest = left;
    }
    Some(pieces)
}

/// The longest start of `text` that is taken, ending where a paragraph, a line or a sentence ends if more than half of
/// it remains that way, else between two words; and what is left.
fn take(text: &str, takes: impl Fn(&str) -> bool) -> Option<(&str, &str)> {
    let mut ends = Vec::new();
    // By grapheme: a blank that bears a mark is a letter to those who read it.
    let mut before = "";
    let mut graphemes = text.grapheme_indices(true).peekable();
    while let Some((at, grapheme)) = graphemes.next() {
        if !is_gap(grapheme) {
            before = grapheme;
            continue;
        }
        let mut lines = grapheme.matches('\n').count();
        while let Some((_, more)) = graphemes.next_if(|(_, next)| is_gap(next)) {
            lines += more.matches('\n').count();
        }
        ends.push(match (lines, before.ends_with(['.', '!', '?', ':'])) {
            (2.., _) => (at, 0),
            (1, _) => (at, 1),
            (0, true) => (at, 2),
            (0, false) => (at, 3),
        });
    }
    let many = ends.partition_point(|(at, _)| takes(text.split_at(*at).0));
    ends.truncate(many);
    let (longest, _) = *ends.last()?;
    let (at, _) = ends
        .into_iter()
        .rev()
        .filter(|(at, _)| *at * 2 > longest)
        .min_by_key(|(_, rank)| *rank)?;
    let (piece, left) = text.split_at(at);
    Some((piece.trim_end(), left.trim_start()))
}

/// Whether it parts words.
fn is_gap(grapheme: &str) -> bool {
    grapheme.chars().all(|c| c.is_whitespace() && !HOLDS.contains(&c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Unit;

    const SENDER: &str = "Nässjö kommun";
    const LINK: &str = "https://nassjo.se/kris/koka-vattnet";

    fn rule(limit: usize) -> TextRule {
        TextRule {
            limit: Some(limit),
            unit: Unit::Graphemes,
            also: Some((3000, Unit::Bytes)),
        }
    }

    fn whole(text: &str) -> Whole<'_> {
        Whole {
            text,
            marking: "ÖVNING: ",
            sender: SENDER,
            link: LINK,
        }
    }

    fn message(body: &str) -> String {
        format!("ÖVNING: {body}\n\n{SENDER}\n{LINK}")
    }

    #[test]
    fn a_text_that_fits_is_left_alone() {
        let text = message("Koka vattnet.");
        assert_eq!(
            split(&whole(&text), &rule(300)).unwrap(),
            std::slice::from_ref(&text)
        );
    }

    #[test]
    fn each_part_is_marked_numbered_and_signed_and_the_link_stands_last_in_the_first_and_the_last() {
        let text = message(
            "Koka vattnet i Nässjö tätort\n\nBakterier har hittats i dricksvattnet. Koka allt vatten som du dricker eller \
             lagar mat med. Vattnet ska bubbla.\n\nVatten delas ut vid Stortorget kl. 15 i dag. Ta med egna kärl, gärna \
             dunkar. Hjälp grannar som inte själva kan hämta vatten.\n\nVi meddelar när faran är över.",
        );
        let parts = split(&whole(&text), &rule(200)).unwrap();
        assert_eq!(
            parts,
            [
                "ÖVNING: Koka vattnet i Nässjö tätort\n\nBakterier har hittats i dricksvattnet. Koka allt vatten som du \
                 dricker eller lagar mat med.\n\n1/3 Nässjö kommun\nhttps://nassjo.se/kris/koka-vattnet",
                "ÖVNING: Vattnet ska bubbla.\n\nVatten delas ut vid Stortorget kl. 15 i dag. Ta med egna kärl, gärna \
                 dunkar.\n\n2/3 Nässjö kommun",
                "ÖVNING: Hjälp grannar som inte själva kan hämta vatten.\n\nVi meddelar när faran är över.\n\n\
                 3/3 Nässjö kommun\nhttps://nassjo.se/kris/koka-vattnet",
            ]
        );
    }

    #[test]
    fn what_belongs_together_is_not_parted() {
        let (number, address) = ("10\u{a0}000", "https://www.example.org/en/sida?a=1&b=2");
        let text = message(&format!("{number} {address} 👨‍👩‍👧‍👦🇸🇪 x \u{301}y ").repeat(12));
        let parts = split(&whole(&text), &rule(170)).unwrap();
        assert!(parts.len() > 2);
        for part in &parts {
            let same = |start: &str, whole: &str| {
                assert_eq!(part.matches(start).count(), part.matches(whole).count(), "{part}");
            };
            same("https://www", address);
            same("10\u{a0}", number);
            same("👨", "👨‍👩‍👧‍👦🇸🇪");
            same("\u{301}", "x \u{301}y");
        }
    }

    #[test]
    fn what_cannot_be_split_is_said_to_be_so() {
        let link = format!("https://nassjo.se/{}", "x".repeat(200));
        assert_eq!(
            split(&whole(&message(&format!("Läs {link} nu"))), &rule(160)),
            None
        );
        assert_eq!(split(&whole(&message(&"ord ".repeat(2000))), &rule(160)), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_word_is_lost_split_or_moved_and_every_part_keeps_the_rule(
            words in prop::collection::vec("[a-zåäö]{1,14}|https://nassjo\\.se/[a-z]{1,40}|🚰|👨‍👩‍👧", 1..260),
            blanks in prop::collection::vec(prop::sample::select(vec![" ", " ", " ", ". ", "\n", "\n\n"]), 260),
            limit in 280_usize..500,
        ) {
            let body: String = words.iter().zip(&blanks).flat_map(|(word, blank)| [word.as_str(), *blank]).collect();
            let text = message(body.trim());
            let rule = rule(limit);
            prop_assume!(count::excess(&text, &thread_rule(rule)).is_none());
            let parts = split(&whole(&text), &rule).unwrap();
            let total = parts.len();
            let mut read = Vec::new();
            for (number, part) in (1..).zip(&parts) {
                prop_assert!(fits(part, &rule), "{} is too long", part);
                if total > 1 {
                    let piece = part.strip_prefix("ÖVNING: ").unwrap();
                    let end = format!("\n\n{number}/{total} {SENDER}");
                    let has_link = number == 1 || number == total;
                    let piece = if has_link { piece.strip_suffix(&format!("\n{LINK}")).unwrap() } else { piece };
                    let piece = piece.strip_suffix(&end).unwrap();
                    prop_assert!(!piece.is_empty());
                    read.extend(piece.split_whitespace().map(str::to_owned));
                }
            }
            if total > 1 {
                let all: Vec<_> = body.split_whitespace().map(str::to_owned).collect();
                prop_assert_eq!(read, all);
            } else {
                prop_assert_eq!(&parts[0], &text);
            }
        }
    }
}
