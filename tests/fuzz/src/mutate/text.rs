//! Changes of text that leave it text: numbers, words, lines.

use super::number;
use crate::Random;

/// What parsers look for, and what they forget to.
const WORDS: [&str; 28] = [
    "-",
    "+",
    ".",
    ":",
    "/",
    "=",
    ",",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    "#",
    "T",
    "Z",
    "0",
    "é",
    "보신각",
    "\u{1f514}",
    "\0",
    "\u{feff}",
    "٣",
    "１",
];

/// The text with one change; `None` when the input is none.
pub(super) fn change(random: &mut Random, input: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(input).ok()?;
    let made = match random.below(6) {
        0 | 1 => numbers(random, text)?,
        2 => {
            let at = border(random, text);
            format!("{}{}{}", &text[..at], random.pick(&WORDS), &text[at..])
        }
        3 => {
            let (a, b) = (border(random, text), border(random, text));
            format!("{}{}", &text[..a.min(b)], &text[a.max(b)..])
        }
        4 => {
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            let others: Vec<&str> = std::str::from_utf8(other).ok()?.split_inclusive('\n').collect();
            let mut lines = if lines.is_empty() { vec![text] } else { lines };
            let at = random.below(lines.len());
            match others.is_empty() || random.below(2) == 0 {
                true => lines.insert(at, lines[random.below(lines.len())]),
                false => lines[at] = others[random.below(others.len())],
            }
            lines.concat()
        }
        _ => {
            let other = std::str::from_utf8(other).ok()?;
            format!("{}{}", &text[..border(random, text)], &other[border(random, other)..])
        }
    };
    Some(made.into_bytes())
}

/// A place between two characters.
fn border(random: &mut Random, text: &str) -> usize {
    let mut at = random.below(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Another number in the place of one.
fn numbers(random: &mut Random, text: &str) -> Option<String> {
    let digits = |c: char| c.is_ascii_digit();
    let starts: Vec<usize> =
        text.char_indices().filter(|&(at, c)| digits(c) && !text[..at].ends_with(digits)).map(|(at, _)| at).collect();
    if starts.is_empty() {
        return None;
    }
    let start = starts[random.below(starts.len())];
    let length = text[start..].find(|c| !digits(c)).unwrap_or(text.len() - start);
    let now = text[start..start + length].parse().unwrap_or(u64::MAX);
    let new = match random.below(4) {
        0 => format!("{:0length$}", now.wrapping_add(1)),
        1 => "9".repeat(1 + random.below(40)),
        _ => number(random, now).to_string(),
    };
    Some(format!("{}{new}{}", &text[..start], &text[start + length..]))
}
