//! How X counts a text: twitter-text, configuration 3. Every web address is 23, also one without protocol whose top
//! domain is known; an emoji of however many code points is 2; of the rest, Latin and its neighbours are 1 and all else
//! is 2. <https://docs.x.com/fundamentals/counting-characters>, read 2026-08.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// What every address counts as.
const LINK: usize = 23;
/// What an emoji counts as, and every character that is not light.
const HEAVY: usize = 2;
/// The code points that count as 1.
const LIGHT: [Range<u32>; 4] = [0x0000..0x1100, 0x2000..0x200e, 0x2010..0x2020, 0x2032..0x2038];
/// Longest label of a domain, as DNS writes it.
const MAX_LABEL: usize = 63;
/// Longest address, protocol included.
const MAX_ADDRESS: usize = 4096;
/// Labels of a domain, the most that DNS can hold. Bounds the search; so does the longest address.
const MAX_LABELS: usize = 127;
/// Longest name of a shortened address that is still taken for one.
const MAX_SHORTENED: usize = 40;
/// Signs that are joined to one emoji at most: a family of four.
const MAX_JOINED: usize = 4;

/// The top domains that X knows, as its conformance tests name them (twitter-text 3.1).
static TOP_DOMAINS: LazyLock<BTreeSet<&str>> =
    LazyLock::new(|| include_str!("top_domains.txt").lines().collect());

/// The weighted length of `text`.
pub(super) fn count(text: &str) -> usize {
    let text: String = text.nfc().collect();
    let mut weight = 0;
    let mut from = 0;
    for link in links(&text) {
        weight += plain(text.get(from..link.start).unwrap_or_default()) + LINK;
        from = link.end;
    }
    weight + plain(text.get(from..).unwrap_or_default())
}

/// What X makes of a text without addresses.
fn plain(text: &str) -> usize {
    text.graphemes(true)
        .map(|sign| {
            if is_emoji(sign) {
                HEAVY
            } else {
                sign.chars().map(weight).sum()
            }
        })
        .sum()
}

fn weight(c: char) -> usize {
    let point = u32::from(c);
    if LIGHT.iter().any(|range| range.contains(&point)) {
        1
    } else {
        HEAVY
    }
}

/// Whether a grapheme cluster is an emoji. X asks a list of all that there are; this follows how they are made, so that
/// one of next year counts as one already, and what merely looks alike is weighed sign by sign.
fn is_emoji(sign: &str) -> bool {
    const TEXT_STYLE: char = '\u{fe0e}';
    const EMOJI_STYLE: char = '\u{fe0f}';
    const KEYCAP: char = '\u{20e3}';
    const JOINER: char = '\u{200d}';
    const BLACK_FLAG: char = '\u{1f3f4}';
    let mut chars = sign.chars();
    let Some(first) = chars.next() else { return false };
    let rest = chars.as_str();
    if matches!(first, '0'..='9' | '#' | '*') {
        return rest.trim_start_matches(EMOJI_STYLE) == "\u{20e3}";
    }
    let is_letter_of_flag = |c: char| matches!(c, '\u{1f1e6}'..='\u{1f1ff}');
    if is_letter_of_flag(first) {
        return rest.chars().all(is_letter_of_flag);
    }
    if !is_pictograph(first) || rest.contains(TEXT_STYLE) {
        return false;
    }
    let is_tag = |c: char| matches!(c, '\u{e0020}'..='\u{e007f}');
    if first == BLACK_FLAG && !rest.is_empty() && rest.chars().all(is_tag) {
        return true;
    }
    let mut after_joiner = false;
    for c in rest.chars() {
        let fits = match c {
            EMOJI_STYLE | KEYCAP | JOINER | '\u{1f3fb}'..='\u{1f3ff}' => !after_joiner,
            c => after_joiner && is_pictograph(c),
        };
        if !fits {
            return false;
        }
        after_joiner = c == JOINER;
    }
    !after_joiner && rest.matches(JOINER).count() < MAX_JOINED
}

/// Whether a sign is a picture by itself.
fn is_pictograph(c: char) -> bool {
    matches!(c,
        '©' | '®' | '‼' | '⁉' | '™' | 'ℹ' | '↔'..='↙' | '↩' | '↪' | '⌚' | '⌛' | '⌨' | '⏏'
        | '\u{23e9}'..='\u{23f3}' | '\u{23f8}'..='\u{23fa}' | 'Ⓜ' | '▪' | '▫' | '▶' | '◀' | '◻'..='◾'
        | '☀'..='☄' | '☎' | '☑' | '☔' | '☕' | '☘' | '☝' | '☠' | '☢' | '☣' | '☦' | '☪' | '☮' | '☯' | '☸'..='☺'
        | '♀' | '♂' | '♈'..='♓' | '♟' | '♠' | '♣' | '♥' | '♦' | '♨' | '♻' | '♾' | '♿' | '⚒'..='⚗' | '⚙' | '⚛'
        | '⚜' | '⚠' | '⚡' | '⚧' | '⚪' | '⚫' | '⚰' | '⚱' | '⚽' | '⚾' | '⛄' | '⛅' | '⛈' | '⛎' | '⛏' | '⛑'
        | '⛓' | '⛔' | '⛩' | '⛪' | '⛰'..='⛵' | '⛷'..='⛺' | '⛽' | '✂' | '✅' | '✈'..='✍' | '✏' | '✒' | '✔'
        | '✖' | '✝' | '✡' | '✨' | '✳' | '✴' | '❄' | '❇' | '❌' | '❎' | '❓'..='❕' | '❗' | '❣' | '❤'
        | '➕'..='➗' | '➡' | '➰' | '➿' | '⤴' | '⤵' | '⬅'..='⬇' | '⬛' | '⬜' | '⭐' | '⭕' | '〰' | '〽'
        | '㊗' | '㊙' | '\u{1f004}' | '\u{1f0cf}' | '\u{1f170}'..='\u{1f19a}' | '\u{1f201}'..='\u{1f3fa}'
        | '\u{1f400}'..='\u{1f64f}' | '\u{1f680}'..='\u{1f6ff}' | '\u{1f7e0}'..='\u{1f7ff}'
        | '\u{1f90c}'..='\u{1faff}'
    )
}

/// Where the web addresses stand in `text`, which is in composed form; in bytes, in order.
///
/// A transcription of twitter-text's expression: it looks for a character that may stand before an address, then for
/// the longest domain whose last label begins with a known top domain, then for port, path and query.
pub fn links(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    // `None` is the start of the text, where nothing has to stand before.
    let starts = text.char_indices().map(|(at, c)| (at, Some(c)));
    let mut done = 0;
    for (at, before) in starts {
        if at < done {
            continue;
        }
        let behind = before
            .filter(|c| may_precede(*c))
            .map(|c| (at + c.len_utf8(), Some(c)));
        let first = (at == 0).then_some((0, None));
        for (start, before) in behind.into_iter().chain(first) {
            if let Some(address) = address(text, start) {
                address.take(text, before, &mut found);
                done = address.end;
                break;
            }
        }
    }
    found
}

/// What looks like an address, in bytes from the start of the text.
struct Address {
    start: usize,
    has_protocol: bool,
    domain: Range<usize>,
    has_path: bool,
    end: usize,
}

/// The address that begins at `start`.
fn address(text: &str, start: usize) -> Option<Address> {
    let rest = text.get(start..)?;
    let protocol = ["https://", "http://"]
        .into_iter()
        .find(|protocol| {
            rest.get(..protocol.len())
                .is_some_and(|given| given.eq_ignore_ascii_case(protocol))
        })
        .map_or(0, str::len);
    let from = start + protocol;
    let after = text.get(from..)?;
    let domain = from..from + domain(after)?;
    let mut end = domain.end;
    let port = text
        .get(end..)?
        .strip_prefix(':')
        .map_or(0, |tail| span(tail, |c| c.is_ascii_digit()));
    if port > 0 {
        end += 1 + port;
    }
    let path = text.get(end..)?.strip_prefix('/').map(path);
    end += path.map_or(0, |length| 1 + length);
    end += text.get(end..)?.strip_prefix('?').map_or(0, query);
    Some(Address {
        start,
        has_protocol: protocol > 0,
        domain,
        has_path: path.is_some(),
        end,
    })
}

impl Address {
    /// Adds what X takes for an address of this.
    fn take(&self, text: &str, before: Option<char>, found: &mut Vec<Range<usize>>) {
        let whole = self.start..self.end;
        let part = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
        let domain = part(&self.domain);
        if !is_possible(domain, part(&whole), self.has_protocol) {
            return;
        }
        if self.has_protocol {
            let tail = text.get(self.domain.end..self.end).unwrap_or_default();
            match shortened(domain, tail) {
                Shortened::No => found.push(whole),
                Shortened::Yes(length) => found.push(self.start..self.domain.end + length),
                Shortened::TooLong => {}
            }
            return;
        }
        if before.is_some_and(|c| matches!(c, '-' | '_' | '.' | '/')) {
            return;
        }
        // Without a protocol only names of Latin letters count; there may be several with other letters between them.
        let mut from = self.domain.start;
        let mut names = Vec::new();
        while let Some(rest) = text.get(from..self.domain.end).filter(|rest| !rest.is_empty()) {
            let skip = rest.chars().next().map_or(1, char::len_utf8);
            match latin_domain(rest) {
                Some(length) => {
                    names.push(from..from + length);
                    from += length;
                }
                None => from += skip,
            }
        }
        if self.has_path
            && let Some(last) = names.last_mut()
        {
            last.end = self.end;
        }
        found.extend(names);
    }
}

/// Whether an address is of X's own shortener.
enum Shortened {
    No,
    /// So much after the domain belongs to it.
    Yes(usize),
    /// Its name is too long to be one.
    TooLong,
}

fn shortened(domain: &str, tail: &str) -> Shortened {
    let name = tail
        .strip_prefix('/')
        .map_or(0, |rest| span(rest, |c| c.is_ascii_alphanumeric()));
    if name == 0 || !domain.eq_ignore_ascii_case("t.co") {
        return Shortened::No;
    }
    if name > MAX_SHORTENED {
        return Shortened::TooLong;
    }
    let rest = tail.get(1 + name..).unwrap_or_default();
    Shortened::Yes(1 + name + rest.strip_prefix('?').map_or(0, query))
}

/// Whether DNS could hold the domain.
fn is_possible(domain: &str, address: &str, has_protocol: bool) -> bool {
    if domain.starts_with("xn--")
        && (0..domain.len()).all(|at| domain.get(at..).and_then(latin_domain).is_none())
    {
        return false;
    }
    let room = if has_protocol {
        MAX_ADDRESS
    } else {
        MAX_ADDRESS - "https://".len()
    };
    address.chars().count() <= room && domain.split('.').all(|label| dns_length(label) <= MAX_LABEL)
}

/// How long a label is in DNS, which writes other letters than a–z with longer names.
fn dns_length(label: &str) -> usize {
    if label.is_ascii() {
        return label.len();
    }
    let written = url::Url::parse(&format!("http://{label}.se/")).ok();
    let host = written.as_ref().and_then(url::Url::host_str);
    host.map_or(label.chars().count(), |host| {
        host.len().saturating_sub(".se".len())
    })
}

/// The length of the domain that `text` begins with: labels, then the longest way to a top domain.
fn domain(text: &str) -> Option<usize> {
    let mut best = None;
    let mut at = 0;
    // Whether the label before this one may stand directly before a top domain: with an underscore it may not.
    let mut is_name = false;
    let window = text.split_at(text.floor_char_boundary(MAX_ADDRESS)).0;
    for label in window.split('.').take(MAX_LABELS) {
        let written = span(label, |c| is_domain_char(c) || matches!(c, '-' | '_'));
        let (part, rest) = label.split_at(written);
        if is_name {
            let top = top_domain(part, rest.chars().next());
            best = top.map(|top| at + top).or(best);
        }
        let is_whole = rest.is_empty();
        let is_label = part.chars().next().is_some_and(is_domain_char)
            && part.chars().next_back().is_some_and(is_domain_char);
        if !is_whole || !is_label {
            break;
        }
        is_name = !part.contains('_');
        at += part.len() + 1;
    }
    best
}

/// The length of the domain of Latin letters that `text` begins with.
fn latin_domain(text: &str) -> Option<usize> {
    let is_latin = |c: char| c.is_ascii_alphanumeric() || c == '-' || is_accented(c);
    let mut best = None;
    let mut at = 0;
    for (number, label) in text.split('.').take(MAX_LABELS).enumerate() {
        if number > 0 {
            let top = top_domain(label, None);
            best = top.map(|top| at + top).or(best);
        }
        if label.is_empty() || !label.chars().all(is_latin) {
            break;
        }
        at += label.len() + 1;
    }
    best
}

/// The length of the top domain that `label` begins with, if a domain may end there. `next` follows the label.
fn top_domain(label: &str, next: Option<char>) -> Option<usize> {
    let lower = label.to_lowercase();
    let encoded = span(&lower, |c| c.is_ascii_alphanumeric() || c == '-');
    if lower.starts_with("xn--") && encoded > 4 {
        return Some(encoded);
    }
    let longest = label.chars().count().min(25);
    (1..=longest).rev().find_map(|chars| {
        let top: String = label.chars().take(chars).collect();
        let after = label.chars().nth(chars).or(next);
        let ends = after.is_none_or(|c| !(c.is_ascii_alphanumeric() || matches!(c, '@' | '+' | '-')));
        (ends && TOP_DOMAINS.contains(top.to_lowercase().as_str())).then_some(top.len())
    })
}

/// The length of the path after its slash: what may stand in one, up to the last sign that may end one.
fn path(text: &str) -> usize {
    let mut end = 0;
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        if in_path(c) {
            at += c.len_utf8();
            if ends_path(c) {
                end = at;
            }
        } else if let Some(length) = text.get(at..).and_then(|rest| parenthesis(rest, true)) {
            at += length;
            end = at;
        } else {
            break;
        }
    }
    end
}

/// The length of a parenthesis that belongs to a path; one more may stand in it.
fn parenthesis(text: &str, nested: bool) -> Option<usize> {
    let inner = text.strip_prefix('(')?;
    let mut at = span(inner, in_path);
    if nested && let Some(length) = inner.get(at..).and_then(|rest| parenthesis(rest, false)) {
        at += length;
        at += inner.get(at..).map_or(0, |rest| span(rest, in_path));
    }
    (at > 0 && inner.get(at..)?.starts_with(')')).then_some(at + 2)
}

/// The length of the query with its question mark; 0 if it is none.
fn query(text: &str) -> usize {
    let run = span(text, |c| {
        c.is_ascii_alphanumeric() || "!?*'@();:&=+$/%#[]-_.,~|".contains(c)
    });
    let run = text.get(..run).unwrap_or_default();
    let kept = run.trim_end_matches(|c: char| !(c.is_ascii_alphanumeric() || "-_&=#/".contains(c)));
    if kept.is_empty() { 0 } else { 1 + kept.len() }
}

fn in_path(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!*';:=+,.$/%#[]-–_~@|&".contains(c) || is_accented(c) || is_cyrillic(c)
}

fn ends_path(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+-=_#/".contains(c) || is_accented(c) || is_cyrillic(c)
}

fn is_cyrillic(c: char) -> bool {
    matches!(c, '\u{400}'..='\u{4ff}')
}

/// Latin letters with marks, as twitter-text lists them.
fn is_accented(c: char) -> bool {
    matches!(c,
        '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{ff}' | '\u{100}'..='\u{24f}' | '\u{253}' | '\u{254}'
        | '\u{256}' | '\u{257}' | '\u{259}' | '\u{25b}' | '\u{263}' | '\u{268}' | '\u{26f}' | '\u{272}' | '\u{289}'
        | '\u{28b}' | '\u{2bb}' | '\u{300}'..='\u{36f}' | '\u{1e00}'..='\u{1eff}'
    )
}

/// Signs that steer the direction of writing.
fn is_directional(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2066}'..='\u{2069}')
}

/// Signs that no text may have.
fn is_forbidden(c: char) -> bool {
    matches!(c, '\u{fffe}' | '\u{feff}' | '\u{ffff}')
}

fn may_precede(c: char) -> bool {
    !(c.is_ascii_alphanumeric() || matches!(c, '@' | '＠' | '$' | '#' | '＃') || is_forbidden(c))
}

fn is_domain_char(c: char) -> bool {
    if c.is_ascii_alphanumeric() || is_accented(c) {
        return true;
    }
    let punctuation = "!'#%&()*+,\\-./:;<=>?@[]^_{|}~$";
    let space = matches!(c, '\t'..='\r' | ' ' | '\u{85}' | '\u{a0}' | '\u{1680}' | '\u{180e}' | '\u{2000}'..='\u{200a}'
        | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}');
    !(punctuation.contains(c) || space || is_forbidden(c) || is_directional(c))
}

/// The length in bytes of the longest start of `text` whose characters are all `wanted`.
fn span(text: &str, wanted: impl Fn(char) -> bool) -> usize {
    text.find(|c| !wanted(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests;
