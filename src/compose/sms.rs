//! How a text becomes text messages: which alphabet it needs, and in how many parts it goes (3GPP TS 23.038, 23.040).
//!
//! One sign that the phones' own alphabet lacks makes the whole text go in the other one, with less than half as much in
//! each part. Swedish letters are in the phones' alphabet; typographic quotation marks, dashes and emoji are not.

use std::fmt;

/// The phones' own alphabet, a septet each.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ\
                     ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// Its second table, two septets each.
const EXTENSION: &str = "\u{c}^{}\\[~]|€";

/// What a single message holds, and each part of a longer one, whose first six octets say how the parts belong together.
const GSM: (usize, usize) = (160, 153);
const UCS2: (usize, usize) = (70, 67);

/// What a text is sent in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    /// The phones' own, GSM 03.38.
    Gsm,
    /// UTF-16, for everything else.
    Ucs2,
}

impl fmt::Display for Alphabet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Gsm => "GSM",
            Self::Ucs2 => "UCS-2",
        })
    }
}

/// A text as text messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// What it is sent in.
    pub alphabet: Alphabet,
    /// Its length in septets or UTF-16 units.
    pub units: usize,
    /// In how many messages it goes; each is paid for.
    pub parts: usize,
    /// How many units go into so many parts, if no pair falls on a boundary.
    pub room: usize,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} {} characters", self.units, self.room, self.alphabet)
    }
}

/// The parts that `text` goes in, as they are cut.
pub fn parts(text: &str) -> Vec<&str> {
    let size = size(text);
    let (_, most) = match size.alphabet {
        Alphabet::Gsm => GSM,
        Alphabet::Ucs2 => UCS2,
    };
    if size.parts <= 1 {
        return (size.parts == 1).then_some(text).into_iter().collect();
    }
    let mut found = Vec::with_capacity(size.parts);
    let (mut rest, mut used) = (text, 0);
    for (at, c) in text.char_indices() {
        let width = match size.alphabet {
            Alphabet::Gsm => septets(c).unwrap_or(1),
            Alphabet::Ucs2 => c.len_utf16(),
        };
        if used + width > most {
            let (part, after) = rest.split_at(at - (text.len() - rest.len()));
            found.push(part);
            (rest, used) = (after, 0);
        }
        used += width;
    }
    found.push(rest);
    found
}

/// In which alphabet and in how many parts `text` goes.
pub fn size(text: &str) -> Size {
    let alphabet = if text.chars().all(|c| septets(c).is_some()) {
        Alphabet::Gsm
    } else {
        Alphabet::Ucs2
    };
    let (single, part) = match alphabet {
        Alphabet::Gsm => GSM,
        Alphabet::Ucs2 => UCS2,
    };
    let width = |c: char| match alphabet {
        Alphabet::Gsm => septets(c).unwrap_or(1),
        Alphabet::Ucs2 => c.len_utf16(),
    };
    let units = text.chars().map(width).sum();
    let parts = match units {
        0 => 0,
        units if units <= single => 1,
        _ => {
            // What takes two units never stands in two parts: it moves to the next one whole.
            let (parts, _) = text.chars().map(width).fold((1, 0), |(parts, used), width| {
                if used + width > part {
                    (parts + 1, width)
                } else {
                    (parts, used + width)
                }
            });
            parts
        }
    };
    let room = if parts <= 1 { single } else { parts * part };
    Size {
        alphabet,
        units,
        parts,
        room,
    }
}

/// How many septets `c` takes in the phones' alphabet; `None` if it is not in it.
fn septets(c: char) -> Option<usize> {
    // Nearly every letter of a text is one of these.
    if c.is_ascii_alphanumeric() || c == ' ' || BASIC.contains(c) {
        Some(1)
    } else {
        EXTENSION.contains(c).then_some(2)
    }
}

/// The signs of `text` that force the other alphabet, each once and in order.
pub fn foreign(text: &str) -> Vec<char> {
    let mut all = Vec::new();
    for c in text.chars() {
        if septets(c).is_none() && !all.contains(&c) {
            all.push(c);
        }
    }
    all
}

/// What may be written instead of a typographic sign without changing what is said; `None` for letters and emoji, which
/// nobody may replace unasked.
pub fn plain(c: char) -> Option<&'static str> {
    match c {
        '–' | '—' | '‑' | '•' | '−' => Some("-"),
        '”' | '“' | '„' | '»' | '«' => Some("\""),
        '’' | '‘' | '´' | '`' => Some("'"),
        '…' => Some("..."),
        '\u{a0}' | '\u{202f}' => Some(" "),
        '\u{ad}' | '\u{200b}' => Some(""),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &str) -> usize {
        size(text).parts
    }

    /// How many units a part takes in this alphabet.
    fn size_alone(part: &str, alphabet: Alphabet) -> usize {
        let units = |c: char| match alphabet {
            Alphabet::Gsm => septets(c).unwrap(),
            Alphabet::Ucs2 => c.len_utf16(),
        };
        part.chars().map(units).sum()
    }

    fn part_room(size: Size) -> usize {
        size.room / size.parts.max(1)
    }

    #[test]
    fn the_alphabet_has_its_128_places_less_the_escape() {
        assert_eq!(BASIC.chars().count(), 127);
        assert_eq!(EXTENSION.chars().count(), 10);
        let mut all: Vec<char> = BASIC.chars().chain(EXTENSION.chars()).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 137, "no sign stands twice");
    }

    #[test]
    fn swedish_goes_in_the_phones_own_alphabet() {
        let text = "ÖVNING: Nässjö kommun: Vattnet är förorenat på Ängsgatan, i Énköping och hos Müller & Co. https://nassjo.se/kris_1?a=b#c";
        assert_eq!(size(text).alphabet, Alphabet::Gsm);
        assert!(foreign(text).is_empty());
        assert_eq!(size(text).units, text.chars().count());
    }

    #[test]
    fn one_sign_too_many_and_the_whole_text_goes_in_the_other_alphabet() {
        for c in "”“’–—…•\u{a0}\u{ad}´`áíóúêëï°×½çčđŋšŧž🚰".chars() {
            let text = format!("Koka vattnet{c}");
            assert_eq!(size(&text).alphabet, Alphabet::Ucs2, "{c:?}");
            assert_eq!(foreign(&text), [c]);
        }
        assert_eq!(size("a\u{30a}").alphabet, Alphabet::Ucs2, "not composed");
        assert_eq!(size(&format!("”{}", "a".repeat(100))).parts, 2);
    }

    #[test]
    fn the_worked_numbers_of_the_standard() {
        let a = |n: usize| "a".repeat(n);
        let t = |n: usize| "š".repeat(n);
        for (text, expected) in [
            (String::new(), 0),
            (a(1), 1),
            (a(160), 1),
            (a(161), 2),
            (a(306), 2),
            (a(307), 3),
            (a(459), 3),
            (a(460), 4),
            (t(70), 1),
            (t(71), 2),
            (t(134), 2),
            (t(135), 3),
            (t(201), 3),
            (t(202), 4),
            // The euro sign counts as two.
            (format!("{}€", a(158)), 1),
            (format!("{}€", a(159)), 2),
            ("€".repeat(80), 1),
            ("€".repeat(81), 2),
            // 69 signs, the last of them two units: 71.
            (format!("{}🚰", t(68)), 1),
            (format!("{}🚰", t(69)), 2),
        ] {
            assert_eq!(parts(&text), expected, "{} signs: {text}", text.chars().count());
        }
    }

    #[test]
    fn what_takes_two_places_is_never_torn() {
        // 152 letters, then a pair that would begin in the last place of the first part.
        let text = format!("{}€{}", "a".repeat(152), "a".repeat(151));
        assert_eq!(size(&text).units, 305);
        assert_eq!(parts(&text), 2);
        let text = format!("{}€{}", "a".repeat(152), "a".repeat(152));
        assert_eq!((size(&text).units, parts(&text)), (306, 3));
        let text = format!("{}🚰{}", "š".repeat(66), "š".repeat(66));
        assert_eq!((size(&text).units, parts(&text)), (134, 3));
    }

    #[test]
    fn what_is_written_instead_is_in_the_alphabet() {
        for c in "–—‑•−”“„»«’‘´`…\u{a0}\u{202f}\u{ad}\u{200b}".chars() {
            assert!(septets(c).is_none(), "{c:?} needs no other");
            assert!(foreign(plain(c).unwrap()).is_empty());
        }
        for c in "čŋšž🚰áç".chars() {
            assert_eq!(plain(c), None, "{c} is not ours to replace");
        }
    }

    proptest! {
        #[test]
        fn parts_hold_what_they_are_counted_to_hold(text in "([a-zåäö€{ \\n]|\\PC){0,400}") {
            let size = size(&text);
            prop_assert!(size.units <= size.room);
            // A pair moved to the next part leaves one place empty in each part at most.
            let part = size.room / size.parts.max(1);
            prop_assert!(size.parts <= 1 || size.units > (size.parts - 1) * (part - 1));
            // Cut as they are counted, and nothing is lost.
            let cut = super::parts(&text);
            prop_assert_eq!(cut.len(), size.parts);
            prop_assert_eq!(cut.concat(), text.as_str());
            prop_assert!(cut.iter().all(|part| size_alone(part, size.alphabet) <= part_room(size)));
        }

        #[test]
        fn a_longer_text_never_takes_fewer_parts(text in "\\PC{0,300}", more in "\\PC{0,20}") {
            let longer = format!("{text}{more}");
            prop_assert!(parts(&longer) >= parts(&text));
        }
    }
}
