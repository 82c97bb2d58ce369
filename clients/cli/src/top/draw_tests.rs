use std::path::Path;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::super::fixture::{next_round, round};
use super::super::round::Round;
use super::super::view::{Event, Key};
use super::*;

/// Writes frames instead of comparing them, after which they are to be looked at.
const BLESS: &str = "BOSINGAK_BLESS";

fn frame(view: &View, (columns, lines): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal.draw(|frame| draw(view, true, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for y in 0..lines {
        let mut line = String::new();
        let mut covered = 0;
        for x in 0..columns {
            // A wide letter covers the cell behind it.
            if covered > 0 {
                covered -= 1;
                continue;
            }
            let symbol = buffer[(x, y)].symbol();
            covered = symbol.width().saturating_sub(1);
            line.push_str(symbol);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn same_as(name: &str, frame: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/top/frames").join(name);
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&file, frame).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == frame, "{name} was\n{kept}\nand is\n{frame}\n{BLESS}=1 keeps it");
}

fn after(events: impl IntoIterator<Item = Event>) -> View {
    let mut view = View::new(Duration::from_secs(2));
    events.into_iter().for_each(|event| view.on(event));
    view
}

fn answered(round: Round) -> Event {
    Event::Answered(Box::new(round))
}

fn press(letter: char) -> Event {
    Event::Key(Key::Char(letter))
}

/// Turns red when anything moves, is missing or is said otherwise on a screen of 100 columns.
#[test]
fn a_cluster_at_work() {
    let view = after([answered(round()), answered(next_round())]);
    same_as("at_work.txt", &frame(&view, (100, 24)));
}

/// Turns red when the first round shows rates it cannot know.
#[test]
fn the_first_round_has_no_rates() {
    same_as("first_round.txt", &frame(&after([answered(round())]), (100, 24)));
}

/// Turns red when a node that is down is not named, or the figures of its partitions look like its own.
#[test]
fn a_node_is_down() {
    let mut second = next_round();
    second.answers[0].1 = Err("Connection refused".into());
    let alarm = "node 1 is silent for 7 s in partition 0".to_owned();
    second.answers[1].1.as_mut().unwrap().alarms.push(alarm);
    same_as("node_down.txt", &frame(&after([answered(round()), answered(second)]), (100, 24)));
}

/// Turns red when old figures are shown without a word, or nothing is.
#[test]
fn nobody_answers() {
    let silent = || Round {
        answers: vec![("http://10.0.0.1:7300".into(), Err("no answer within 2s".into()))],
        ..Round::default()
    };
    same_as("never_answered.txt", &frame(&after([answered(silent())]), (100, 6)));
    same_as("no_answer_any_more.txt", &frame(&after([answered(round()), answered(silent())]), (100, 24)));
}

/// Turns red when the help does not fit or hides what it is about.
#[test]
fn the_keys_are_explained() {
    same_as("help.txt", &frame(&after([answered(round()), press('?')]), (100, 24)));
}

/// Turns red when a pause, the day or the order are not to be seen.
#[test]
fn keys_show() {
    let view =
        after([answered(round()), answered(next_round()), press('p'), press('f'), press('s'), press('s'), press('r')]);
    same_as("keys.txt", &frame(&view, (100, 24)));
}

/// Turns red when what does not fit is cut off without a word, or scrolling leaves lines empty.
#[test]
fn many_partitions_scroll() {
    let mut many = round();
    for (_, answer) in &mut many.answers {
        let status = answer.as_mut().unwrap();
        let last = status.partitions[2].clone();
        status
            .partitions
            .extend((3..40).map(|partition| proto::admin::v1::PartitionStatus { partition, ..last.clone() }));
    }
    let page = || Event::Key(Key::PageDown);
    same_as("scrolled.txt", &frame(&after([answered(many.clone()), page(), Event::Key(Key::Down)]), (100, 20)));
    let end = after([answered(many), page(), page(), page(), page(), page()]);
    let shown = frame(&end, (100, 20));
    assert!(shown.contains("of 40") && shown.contains("\n       39 "), "{shown}");
}

/// Turns red when a small terminal makes it panic.
#[test]
fn any_size_is_drawn() {
    let view = after([answered(round()), answered(next_round()), press('?')]);
    for columns in [1, 2, 5, 20, 79, 300] {
        for lines in [1, 2, 5, 10, 15, 16, 17, 60] {
            frame(&view, (columns, lines));
        }
    }
}

/// Turns red when a key stops doing what the help says.
#[test]
fn keys_do_what_they_say() {
    for key in [Key::Char('q'), Key::Escape, Key::Interrupt] {
        assert!(after([Event::Key(key)]).is_over(), "{key:?}");
    }
    // Escape leaves the help first.
    assert!(!after([press('?'), Event::Key(Key::Escape)]).is_over());
    assert!(after([press('p')]).paused && !after([press('p'), press(' ')]).paused);
    let order = |keys: &str| {
        let view = after([answered(next_round())].into_iter().chain(keys.chars().map(press)));
        view.partitions().iter().map(|one| one.partition).collect::<Vec<_>>()
    };
    assert_eq!(order(""), [0, 1, 2]);
    assert_eq!(order("r"), [2, 1, 0]);
    // By number, leader, pending, overdue.
    assert_eq!(order("sss"), [2, 1, 0]);
    assert_eq!(order("ssssss"), [0, 1, 2]);
}

/// Turns red when a count is shown in the wrong column of a chart, or one gets lost.
#[test]
fn cells_are_spread_over_columns() {
    assert_eq!(resampled(&[1, 2, 3], 7), [1, 1, 2, 2, 3, 3]);
    assert_eq!(resampled(&[1, 2, 3, 4, 5], 2), [6, 9]);
    assert_eq!(resampled(&[], 5), [0; 0]);
    assert_eq!(resampled(&[1], 0), [0; 0]);
}
