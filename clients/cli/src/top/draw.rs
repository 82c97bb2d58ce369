//! The state of the view as a frame.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span as Piece};
use ratatui::widgets::{Block, Clear, Paragraph, Sparkline};
use unicode_width::UnicodeWidthStr;

use super::round::{Health, Picture};
use super::view::{Span, View};
use crate::duration;
use crate::table::{clean, cut};

/// Lines for what a person should know first; what is more than that is counted.
const NOTES_MAX: usize = 4;
/// Lines of executors, with their header.
const EXECUTORS_MAX: u16 = 8;
/// A screen lower than this has no room for the forecast.
const FORECAST_FROM_HEIGHT: u16 = 16;

const HELP: &str = " q, Esc      leave
 p, space    pause: nothing is asked until pressed again
 s           sort partitions by the next column
 r           the other way round
 f           forecast of the next hour, or of the next day
 arrows, j k scroll partitions
 ?           this help

 pending     not due yet, or held back by a pause or a rate limit
 overdue     fired and not ended, handed out or not
 lateness    due until handed out, first attempts of the last
             interval; upper bounds
 HEARSAY     the leader does not answer: figures of another node";

/// Draws everything.
pub fn draw(view: &View, colour: bool, frame: &mut Frame<'_>) {
    let style = Styles { colour };
    let area = frame.area();
    let notes = notes(view);
    let Some(picture) = &view.picture else {
        let waiting = if view.silent.is_empty() { "asking the nodes" } else { "no node answers" };
        let mut lines = vec![Line::from(format!("bosingak top: {waiting}"))];
        lines.extend(notes.into_iter().map(|note| Line::styled(note, style.alarm())));
        lines.push(Line::from("q quit"));
        frame.render_widget(Paragraph::new(lines), area);
        return;
    };
    let forecast = if area.height >= FORECAST_FROM_HEIGHT { 4 } else { 0 };
    let executors = u16::try_from(picture.executors.len()).unwrap_or(u16::MAX).saturating_add(2).min(EXECUTORS_MAX);
    let [head, note, chart, partitions, workers, foot] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(u16::try_from(notes.len()).unwrap_or(u16::MAX)),
        Constraint::Length(forecast),
        Constraint::Min(3),
        Constraint::Length(executors),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(header(view, picture, &style)), head);
    let notes: Vec<Line<'_>> = notes.into_iter().map(|note| Line::styled(note, style.alarm())).collect();
    frame.render_widget(Paragraph::new(notes), note);
    if forecast > 0 {
        draw_forecast(view, picture, &style, frame, chart);
    }
    let (lines, place) = partition_lines(view, &style, partitions);
    frame.render_widget(Paragraph::new(lines), partitions);
    frame.render_widget(Paragraph::new(executor_lines(picture, &style, workers)), workers);
    frame.render_widget(Paragraph::new(footer(view, &place, &style)), foot);
    if view.help {
        draw_help(frame, area);
    }
}

/// Colours where they are wanted; without them, weight alone.
struct Styles {
    colour: bool,
}

impl Styles {
    fn alarm(&self) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD);
        if self.colour { style.fg(Color::Red) } else { style }
    }

    fn bold(&self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn faint(&self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn chart(&self) -> Style {
        if self.colour { Style::new().fg(Color::Cyan) } else { Style::new() }
    }
}

fn notes(view: &View) -> Vec<String> {
    let mut notes: Vec<String> = view.picture.as_ref().map(Picture::notes).unwrap_or_default();
    if !view.silent.is_empty() {
        notes.insert(0, format!("no node answers; figures are old: {}", view.silent));
        if view.picture.is_none() {
            notes[0] = view.silent.clone();
        }
    }
    let more = notes.len().saturating_sub(NOTES_MAX);
    if more > 0 {
        notes.truncate(NOTES_MAX - 1);
        notes.push(format!("and {} more", more + 1));
    }
    notes.iter().map(|note| format!("! {}", clean(note))).collect()
}

fn header<'a>(view: &View, picture: &Picture, style: &Styles) -> Vec<Line<'a>> {
    let state = if view.paused { "PAUSED".to_owned() } else { format!("every {}", duration::show(view.interval)) };
    let answering = if view.silent.is_empty() { picture.answering() } else { 0 };
    let nodes = format!("{answering} of {} nodes answer", picture.nodes.len());
    let cluster = clean(&picture.cluster);
    let oldest = picture.oldest().map_or_else(String::new, |oldest| format!(", the oldest for {}", brief(oldest)));
    let lateness = match (picture.lateness.count, picture.lateness.p50, picture.lateness.p99) {
        (0, ..) => "-".to_owned(),
        (_, p50, p99) => format!("p50 {}  p99 {}", bound(p50), bound(p99)),
    };
    let in_flight: u64 = picture.executors.iter().map(|executor| executor.in_flight).sum();
    let credit: u64 = picture.executors.iter().map(|executor| executor.credit).sum();
    vec![
        Line::from(vec![
            Piece::styled(format!("bosingak top  {cluster}  {nodes}"), style.bold()),
            Piece::styled(format!("  version {}  {state}", clean(&picture.version)), style.faint()),
        ]),
        Line::from(format!(
            "pending {}  overdue {}{oldest}  dead {}  fired {}/s  completed {}/s",
            grouped(picture.sum(|one| one.pending)),
            grouped(picture.sum(|one| one.overdue)),
            grouped(picture.sum(|one| one.dead)),
            per_second(picture.rate(|one| one.fired_per_s)),
            per_second(picture.rate(|one| one.completed_per_s)),
        )),
        Line::from(format!(
            "lateness {lateness}  executors {}  in flight {}  credit {}",
            picture.executors.len(),
            grouped(in_flight),
            grouped(credit)
        )),
    ]
}

fn draw_forecast(view: &View, picture: &Picture, style: &Styles, frame: &mut Frame<'_>, area: Rect) {
    let (name, cells) = match view.span {
        Span::Hour => ("hour", &picture.hour),
        Span::Day => ("day", &picture.day),
    };
    let largest = cells.iter().max().copied().unwrap_or(0);
    let total: u64 = cells.iter().sum();
    let each = match view.span {
        Span::Hour => "minute",
        Span::Day => "quarter of an hour",
    };
    let title = match cells.is_empty() {
        true => format!("due in the next {name}: no answer"),
        false => format!("due in the next {name}: {}, at most {} a {each}", grouped(total), grouped(largest)),
    };
    let [top, chart] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    frame.render_widget(Paragraph::new(Line::styled(title, style.bold())), top);
    let columns = resampled(cells, usize::from(area.width));
    frame.render_widget(
        Sparkline::default().data(&columns).max(columns.iter().max().copied().unwrap_or(0).max(1)).style(style.chart()),
        chart,
    );
}

/// The cells over so many columns: each as wide as fits, or several added up in one.
fn resampled(cells: &[u64], columns: usize) -> Vec<u64> {
    if cells.is_empty() || columns == 0 {
        return Vec::new();
    }
    let wide = columns / cells.len();
    if wide >= 1 {
        return cells.iter().flat_map(|count| std::iter::repeat_n(*count, wide)).collect();
    }
    cells.chunks(cells.len().div_ceil(columns)).map(|chunk| chunk.iter().sum()).collect()
}

/// The lines that fit, and which they are when there are others.
fn partition_lines<'a>(view: &View, style: &Styles, area: Rect) -> (Vec<Line<'a>>, String) {
    let header = [
        "PARTITION",
        "LEADER",
        "TERM",
        "APPLIED",
        "LAG",
        "PENDING",
        "OVERDUE",
        "OLDEST",
        "IN FLIGHT",
        "FIRED/S",
        "DONE/S",
        "HEALTH",
    ];
    let partitions = view.partitions();
    let rows: Vec<Vec<String>> = partitions
        .iter()
        .map(|one| {
            vec![
                one.partition.to_string(),
                if one.leader == 0 { "-".into() } else { one.leader.to_string() },
                one.term.to_string(),
                one.applied.to_string(),
                one.lag.to_string(),
                grouped(one.pending),
                grouped(one.overdue),
                one.oldest.map_or_else(|| "-".into(), brief),
                grouped(one.in_flight),
                per_second(one.fired_per_s),
                per_second(one.completed_per_s),
                clean(&one.health.word()),
            ]
        })
        .collect();
    let unwell = |at: usize| partitions[at].health > Health::Good;
    let mut lines = columns(&header, &rows, header.len() - 1, style, unwell);
    let shown = usize::from(area.height).saturating_sub(1);
    // Never scrolled so far that lines stay empty.
    let first = view.scrolled.min(partitions.len().saturating_sub(shown));
    lines.drain(1..=first);
    let place = if first == 0 && lines.len() <= shown + 1 {
        String::new()
    } else {
        let last = (first + shown).min(partitions.len());
        format!("  partitions {} to {last} of {}", first + 1, partitions.len())
    };
    (lines, place)
}

fn executor_lines<'a>(picture: &Picture, style: &Styles, area: Rect) -> Vec<Line<'a>> {
    if picture.executors.is_empty() {
        return vec![Line::from(""), Line::styled("no executor is connected", style.faint())];
    }
    let rows: Vec<Vec<String>> = picture
        .executors
        .iter()
        .map(|one| {
            let topics: Vec<&str> = one.topics.iter().map(String::as_str).collect();
            vec![
                cut(&clean(&one.executor), 32),
                one.partitions.to_string(),
                grouped(one.in_flight),
                grouped(one.credit),
                clean(&topics.join(",")),
            ]
        })
        .collect();
    let mut lines = vec![Line::from("")];
    lines.extend(columns(&["EXECUTOR", "PARTITIONS", "IN FLIGHT", "CREDIT", "TOPICS"], &rows, 4, style, |_| false));
    let room = usize::from(area.height);
    if lines.len() > room {
        let more = lines.len() - room + 1;
        lines.truncate(room.saturating_sub(1));
        lines.push(Line::styled(format!("and {more} more"), style.faint()));
    }
    lines
}

/// Lines of columns: numbers to the right, the last column, and the first of executors, to the left.
fn columns<'a>(
    header: &[&str],
    rows: &[Vec<String>],
    last: usize,
    style: &Styles,
    alarming: impl Fn(usize) -> bool,
) -> Vec<Line<'a>> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].width());
        cells.max().unwrap_or(0).max(header[column].width())
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let left = |column: usize| column == last || (column == 0 && header[0] == "EXECUTOR");
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (column, cell) in cells.enumerate() {
            let pad = " ".repeat(widths[column].saturating_sub(cell.width()));
            if column > 0 {
                text.push_str("  ");
            }
            match left(column) {
                true if column == last => text.push_str(cell),
                true => text.extend([cell, &pad]),
                false => text.extend([&pad, cell]),
            }
        }
        text
    };
    let mut lines = vec![Line::styled(line(&mut header.iter().copied()), style.bold())];
    for (at, row) in rows.iter().enumerate() {
        let text = line(&mut row.iter().map(String::as_str));
        lines.push(if alarming(at) { Line::styled(text, style.alarm()) } else { Line::from(text) });
    }
    lines
}

fn footer<'a>(view: &View, place: &str, style: &Styles) -> Line<'a> {
    let order = if view.reversed { ", reversed" } else { "" };
    let text = format!("q quit  p pause  s sort: {}{order}  f hour/day  ? help{place}", view.sort.name());
    Line::styled(text, style.faint())
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let width = 68.min(area.width);
    let height = u16::try_from(HELP.lines().count() + 2).unwrap_or(u16::MAX).min(area.height);
    let place = Rect::new((area.width - width) / 2, (area.height - height) / 2, width, height);
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(HELP).block(Block::bordered().title(" keys and words ")), place);
}

/// An upper bound of lateness.
fn bound(bound: Option<Duration>) -> String {
    bound.map_or_else(|| "> 10m".into(), |bound| format!("≤ {}", duration::show(bound)))
}

/// A length of time in few letters: what matters of `1m 5s` and `250ms`.
fn brief(length: Duration) -> String {
    if length >= Duration::from_secs(1) {
        duration::show(Duration::from_secs(length.as_secs()))
    } else {
        duration::show(length)
    }
}

fn per_second(rate: Option<f64>) -> String {
    match rate {
        None => "-".into(),
        Some(rate) if rate < 10.0 && rate > 0.0 => format!("{rate:.1}"),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are not negative")]
        Some(rate) => grouped(rate.round() as u64),
    }
}

/// With commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
#[path = "draw_tests.rs"]
mod tests;
