//! What happened when: what the cluster's log says of each gift, what the providers delivered, and what was done to them.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};

use anyhow::Result;
use gifts::World;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::{Value, json};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::cast::{self, ROLES};

/// Columns of a narrow terminal.
const COLUMNS: usize = 78;
/// Columns of the time and what follows it.
const MARGIN: usize = 10;

/// Something that happened.
struct Entry {
    at: Timestamp,
    kind: &'static str,
    /// The gift or the address it is about.
    about: String,
    text: String,
}

/// Everything that happened so far; printed as it comes, unless programs read it.
pub struct Timeline {
    entries: Vec<Entry>,
    /// Events of gifts that were told: gift, log index, words.
    told: BTreeSet<(&'static str, u64, String)>,
    /// Messages that were told.
    messages: usize,
    /// Day of the line before.
    day: Option<jiff::civil::Date>,
    seoul: TimeZone,
    aloud: bool,
    bold: bool,
}

impl Timeline {
    pub fn new(aloud: bool) -> Result<Self> {
        let bold = aloud && std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Ok(Timeline {
            entries: Vec::new(),
            told: BTreeSet::new(),
            messages: 0,
            day: None,
            seoul: TimeZone::get("Asia/Seoul")?,
            aloud,
            bold,
        })
    }

    /// A moment in Seoul.
    pub fn in_seoul(&self, at: Timestamp) -> Zoned {
        at.to_zoned(self.seoul.clone())
    }

    /// Somebody does something now.
    pub fn act(&mut self, at: Timestamp, about: &str, text: impl Into<String>) {
        self.add(vec![Entry { at, kind: "act", about: about.into(), text: text.into() }]);
    }

    /// Something is broken on purpose, or mended.
    pub fn fault(&mut self, at: Timestamp, text: impl Into<String>) {
        self.add(vec![Entry { at, kind: "fault", about: String::new(), text: text.into() }]);
    }

    /// Gathers what gifts went through and what arrived since the last time.
    pub async fn gather(&mut self, world: &World) -> Result<()> {
        let mut news = Vec::new();
        for role in &ROLES {
            // Not reserved yet.
            let Ok(gift) = world.gift(role.id).await else { continue };
            for event in &gift.events {
                if !self.told.insert((role.id, event.log_index, event.what.clone())) {
                    continue;
                }
                let at = event.at.unwrap_or_default();
                let state = event.state().as_str_name().trim_start_matches("GIFT_STATE_");
                let text = format!("{state}: {}", event.what);
                let at = Timestamp::new(at.seconds, at.nanos)?;
                news.push(Entry { at, kind: "gift", about: role.id.into(), text });
            }
        }
        let messages = world.fakes().inbox().all();
        for message in &messages[self.messages..] {
            let first = message.title.as_deref().unwrap_or_else(|| message.body.lines().next().unwrap_or_default());
            let text = format!("{} → {}: {first}", message.channel, cast::name_at(&message.to));
            news.push(Entry { at: message.at, kind: "message", about: message.to.clone(), text });
        }
        self.messages = messages.len();
        // The providers' clock goes on by itself between two moves of the cluster's: what is gathered together is told in the
        // order of seconds, the cluster's word first.
        news.sort_by_key(|entry| (entry.at.as_second(), entry.kind == "message"));
        self.add(news);
        Ok(())
    }

    /// For tools.
    pub fn to_json(&self) -> Value {
        let entries = self.entries.iter();
        entries
            .map(|entry| {
                let Entry { at, kind, about, text } = entry;
                json!({ "at": self.in_seoul(*at).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(), "kind": kind,
                        "about": about, "text": text })
            })
            .collect()
    }

    fn add(&mut self, entries: Vec<Entry>) {
        for entry in &entries {
            self.tell(entry);
        }
        self.entries.extend(entries);
    }

    fn tell(&mut self, entry: &Entry) {
        if !self.aloud {
            return;
        }
        let at = self.in_seoul(entry.at);
        if self.day != Some(at.date()) {
            self.day = Some(at.date());
            say(&format!("\n{}", self.strong(&at.strftime("%A %-d %B %Y, Seoul").to_string())));
        }
        let line = match entry.kind {
            "act" if entry.about.is_empty() => format!("▸ {}", entry.text),
            "act" => format!("▸ {}: {}", entry.about, entry.text),
            "fault" => self.strong(&format!("✗ {}", entry.text)),
            "message" => format!("  ✉ {}", entry.text),
            _ => format!("  {}: {}", entry.about, entry.text),
        };
        for (number, part) in wrap(&line, COLUMNS - MARGIN).into_iter().enumerate() {
            let time = if number == 0 { at.strftime("%H:%M:%S").to_string() } else { String::new() };
            say(&format!("{time:<MARGIN$}{part}"));
        }
    }

    fn strong(&self, text: &str) -> String {
        if self.bold { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A line for people; nobody is left to tell when it cannot be written.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Lines of at most so many columns, broken at spaces where there are any. Further lines are indented.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(' ') {
        let used = lines.last().map_or(0, |line| line.width());
        if used > 0 && used + word.trim_end().width() > columns {
            lines.push("    ".to_owned());
        }
        for c in word.chars() {
            let line = lines.last_mut().expect("there is a line from the beginning");
            if c != ' ' && line.width() + c.width().unwrap_or(0) > columns {
                lines.push(format!("    {c}"));
            } else {
                line.push(c);
            }
        }
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_whatever_the_width_of_the_letters() {
        let text = "민준님, 김보신님이 선물을 보냈어요: a-word-that-is-longer-than-a-whole-line-of-the-terminal";
        let lines = wrap(text, 24);
        assert!(lines.iter().all(|line| line.width() <= 24), "{lines:?}");
        let joined: String = lines.concat().split_whitespace().collect();
        assert_eq!(joined, text.split_whitespace().collect::<String>());
        assert_eq!(wrap("short", 24), ["short"]);
    }
}
