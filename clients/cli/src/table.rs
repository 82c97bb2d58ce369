//! Columns without borders, so that `awk` can read them, whatever the width of the letters.

use std::fmt;

use unicode_width::UnicodeWidthStr;

/// Rows under a header.
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// No rows yet.
    pub fn new(header: &[&'static str]) -> Self {
        Table { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row. Control characters, which could play tricks on a terminal, are made visible.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| clean(cell)).collect());
    }
}

/// Text of somebody else, safe for a terminal.
pub fn clean(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let visible = |c: char| {
        if c.is_control() { c.escape_default().to_string() } else { c.to_string() }
    };
    text.chars().map(visible).collect()
}

/// At most `columns` wide; what is cut off is marked.
pub fn cut(text: &str, columns: usize) -> String {
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if kept.width() > columns {
            kept.pop();
            while kept.width() + 1 > columns {
                kept.pop();
            }
            kept.push('…');
            break;
        }
    }
    kept
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row.get(column).map_or(0, |cell| cell.width()));
            cells.max().unwrap_or(0).max(self.header[column].width())
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut text = String::new();
            for (cell, width) in cells.zip(&widths) {
                text.push_str(if cell.is_empty() { "-" } else { cell });
                let shown = cell.width().max(1);
                text.extend(std::iter::repeat_n(' ', width.saturating_sub(shown) + 2));
            }
            writeln!(f, "{}", text.trim_end())
        };
        line(&mut self.header.iter().copied())?;
        for row in &self.rows {
            line(&mut row.iter().map(String::as_str))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_letters_line_up() {
        let mut table = Table::new(&["ID", "TOPIC", "DUE"]);
        table.row(["선물-1".into(), "gift".into(), "now".into()]);
        table.row(["a".into(), String::new(), "later".into()]);
        let expected = "ID      TOPIC  DUE\n선물-1  gift   now\na       -      later\n";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn a_terminal_is_not_played_tricks_on() {
        assert_eq!(clean("a\x1b[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
    }

    #[test]
    fn what_is_cut_is_marked() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("보신각 종", 5), "보신…");
        assert_eq!(cut("abc", 3), "abc");
    }
}
