//! The terminal: keys in, frames out, and whatever happens, left as it was found.

use std::time::Duration;

use crossterm::event::{Event as Input, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures::StreamExt;
use ratatui::DefaultTerminal;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::draw;
use super::poll::Poll;
use super::round::Round;
use super::view::{Event, Key, View};
use crate::failure::Failure;

/// Exit codes of processes that were ended by a signal, as shells say them.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// The terminal in raw mode on its other screen. Dropping this restores it; so does a panic, before it is told.
struct Screen(DefaultTerminal);

impl Screen {
    fn take() -> Result<Screen, Failure> {
        ratatui::try_init()
            .map(Screen)
            .map_err(|error| Failure::error(format!("this terminal cannot be drawn on: {error}")).or_hint("-o json"))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Shows the view until somebody leaves.
pub async fn run(mut poll: Poll, interval: Duration) -> Result<u8, Failure> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut screen = Screen::take()?;
    let colour = std::env::var_os("NO_COLOR").is_none();
    let mut view = View::new(interval);
    let mut keys = EventStream::new();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // A round that is under way goes on while keys are pressed.
    let (ask, mut asked) = tokio::sync::mpsc::channel::<()>(1);
    let (tell, mut answers) = tokio::sync::mpsc::channel::<Round>(1);
    let asking = tokio::spawn(async move {
        while asked.recv().await.is_some() {
            if tell.send(poll.round().await).await.is_err() {
                return;
            }
        }
    });
    let code = loop {
        screen.0.draw(|frame| draw::draw(&view, colour, frame))?;
        if view.is_over() {
            break 0;
        }
        tokio::select! {
            // When the last round is not over yet, there is no need for another one.
            _ = ticks.tick(), if !view.paused => drop(ask.try_send(())),
            Some(round) = answers.recv() => view.on(Event::Answered(Box::new(round))),
            input = keys.next() => match input {
                Some(Ok(input)) => if let Some(key) = key(&input) { view.on(Event::Key(key)) },
                Some(Err(error)) => return Err(error.into()),
                // The terminal is gone.
                None => break 0,
            },
            code = ended(&mut interrupted, &mut terminated) => break code,
        }
    };
    asking.abort();
    Ok(code)
}

async fn ended(interrupted: &mut Signal, terminated: &mut Signal) -> u8 {
    tokio::select! {
        _ = interrupted.recv() => INTERRUPTED,
        _ = terminated.recv() => TERMINATED,
    }
}

/// The key of an input, when it is one the view knows.
fn key(input: &Input) -> Option<Key> {
    let Input::Key(KeyEvent { code, modifiers, kind, .. }) = input else { return None };
    if *kind == KeyEventKind::Release {
        return None;
    }
    Some(match code {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Key::Interrupt,
        KeyCode::Char(letter) => Key::Char(*letter),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Esc => Key::Escape,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns red when Ctrl-C is taken for the letter, or a key counts again when it is let go.
    #[test]
    fn keys_are_understood() {
        let press = |code, modifiers| Input::Key(KeyEvent::new(code, modifiers));
        assert_eq!(key(&press(KeyCode::Char('c'), KeyModifiers::CONTROL)), Some(Key::Interrupt));
        assert_eq!(key(&press(KeyCode::Char('c'), KeyModifiers::NONE)), Some(Key::Char('c')));
        assert_eq!(key(&press(KeyCode::Esc, KeyModifiers::NONE)), Some(Key::Escape));
        assert_eq!(key(&press(KeyCode::Tab, KeyModifiers::NONE)), None);
        let let_go = KeyEvent { kind: KeyEventKind::Release, ..KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE) };
        assert_eq!(key(&Input::Key(let_go)), None);
        assert_eq!(key(&Input::Resize(80, 24)), None);
    }
}
