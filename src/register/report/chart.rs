//! Bars as inline SVG. Read without colour: what did not get out is hatched, and the figures stand beside the bars.

use std::fmt::Write as _;

use super::AccountYear;
use crate::channel::html::escape;

const ROW: usize = 28;
const LEFT: usize = 260;
const WIDTH: usize = 360;
const RIGHT: usize = 120;
/// Longest name beside a bar, in characters.
const NAME: usize = 34;

/// A bar for each account: how many posts there were to be, and how many of them got out.
pub(super) fn bars(accounts: &[&AccountYear], year: i16) -> String {
    let most = accounts.iter().map(|one| one.posts).max().unwrap_or(1).max(1);
    let (height, width) = (accounts.len() * ROW + 10, LEFT + WIDTH + RIGHT);
    let mut out = format!(
        "<svg role=\"img\" aria-labelledby=\"diagram-titel diagram-text\" viewBox=\"0 0 {width} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title id=\"diagram-titel\">Inlägg per konto {year}</title>\n\
         <desc id=\"diagram-text\">Liggande staplar, en för varje konto. Den fyllda delen är det som kom ut, den streckade \
         det som inte kom ut. Samma siffror står i tabellen efter diagrammet.</desc>\n\
         <defs><pattern id=\"streck\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
         patternTransform=\"rotate(45)\"><rect width=\"6\" height=\"6\" fill=\"#ffffff\"/><line x1=\"0\" y1=\"0\" x2=\"0\" \
         y2=\"6\" stroke=\"#222222\" stroke-width=\"2\"/></pattern></defs>\n"
    );
    for (n, one) in accounts.iter().enumerate() {
        let top = n * ROW + 8;
        let (filled, whole) = (length(one.published, most), length(one.posts, most));
        let name: String = if one.name.chars().count() > NAME {
            one.name.chars().take(NAME - 1).chain(['…']).collect()
        } else {
            one.name.clone()
        };
        let baseline = top + 14;
        // Writing to a text cannot fail.
        writeln!(
            out,
            "<text x=\"{}\" y=\"{baseline}\" text-anchor=\"end\" fill=\"#222222\">{}</text>",
            LEFT - 8,
            escape(&name)
        )
        .ok();
        writeln!(
            out,
            "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{whole}\" height=\"18\" fill=\"url(#streck)\" stroke=\"#222222\"/>\
             <rect x=\"{LEFT}\" y=\"{top}\" width=\"{filled}\" height=\"18\" fill=\"#00467f\" stroke=\"#222222\"/>"
        )
        .ok();
        writeln!(
            out,
            "<text x=\"{}\" y=\"{baseline}\" fill=\"#222222\">{} av {}</text>",
            LEFT + whole + 8,
            one.published,
            one.posts
        )
        .ok();
    }
    out.push_str("</svg>");
    out
}

/// The length of a bar; what is there at all can be seen.
fn length(n: u64, most: u64) -> usize {
    let wide = u64::try_from(WIDTH).unwrap_or(u64::MAX);
    let length = usize::try_from(n.saturating_mul(wide) / most).unwrap_or(WIDTH);
    if n > 0 { length.max(2) } else { 0 }
}
