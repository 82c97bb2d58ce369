//! What is counted against a terminal, when it is locked, and who is told.

use bytes::Bytes;
use prost::Message;
use scheduler::command::{Label, Schedule, When};
use scheduler::domain::DomainError;
use scheduler::lane::Class;
use scheduler::time::{Delay, Timestamp};

use crate::command::Reply;
use crate::context::Context;
use crate::notification::{Channel, News, Notice};
use crate::refusal::Refusal;
use crate::triggers;

use super::Terminal;
use super::terminal::{find, save};

/// What may be counted against a terminal within [`WINDOW`]; the last of them locks it.
pub const FAILURES_MAX: usize = 10;
/// How long something is counted, and how long a terminal is locked from the last of [`FAILURES_MAX`] on.
pub const WINDOW: Delay = Delay::from_secs(3_600);
/// How long operators are not told: a code that is being looked up may turn out to be right.
const ALERT_AFTER: Delay = Delay::from_secs(15);

/// Something that is counted against a terminal: a code that led to no gift, or that is being looked up; or a wrong secret.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Counted {
    /// Number of the command that counted it.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// When, in replicated time.
    #[prost(uint64, tag = "2")]
    pub at: u64,
    /// The 16 bytes of the request; or empty.
    #[prost(bytes = "bytes", tag = "3")]
    pub request: Bytes,
    /// Keyed hash of the code; empty: the secret was wrong.
    #[prost(bytes = "bytes", tag = "4")]
    pub code: Bytes,
}

/// A terminal wants a code looked up: counted first.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Count {
    /// Of which shop.
    #[prost(string, tag = "1")]
    pub shop: String,
    /// Which.
    #[prost(string, tag = "2")]
    pub terminal: String,
    /// Keyed hash of the secret it showed.
    #[prost(bytes = "bytes", tag = "3")]
    pub secret: Bytes,
    /// Keyed hash of the code.
    #[prost(bytes = "bytes", tag = "4")]
    pub code: Bytes,
    /// With the code, tells a repeated request, which is not counted twice; 16 bytes, or empty.
    #[prost(bytes = "bytes", tag = "5")]
    pub request: Bytes,
}

/// What was counted was no failure: the code led to a gift, or nobody learnt whether it does.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Forget {
    /// Of which shop.
    #[prost(string, tag = "1")]
    pub shop: String,
    /// Which terminal.
    #[prost(string, tag = "2")]
    pub terminal: String,
    /// That of [`Verdict::number`].
    #[prost(uint64, tag = "3")]
    pub number: u64,
}

/// Forgets what is counted against a terminal.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Unlock {
    /// Of which shop.
    #[prost(string, tag = "1")]
    pub shop: String,
    /// Which terminal.
    #[prost(string, tag = "2")]
    pub terminal: String,
}

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum VerdictKind {
    /// The secret was wrong, and that is counted.
    Wrong = 0,
    /// The code may be looked up.
    Admitted = 1,
}

/// What becomes of an attempt of a terminal that is not locked.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Verdict {
    /// What.
    #[prost(enumeration = "VerdictKind", tag = "1")]
    pub kind: i32,
    /// Of what was counted; to be forgotten when the code led to a gift.
    #[prost(uint64, tag = "2")]
    pub number: u64,
    /// It was the last that was left: the terminal is locked from now on.
    #[prost(bool, tag = "3")]
    pub locks: bool,
}

impl Terminal {
    /// What is counted against it at this moment: at most [`FAILURES_MAX`].
    pub fn failures(&self, now: Timestamp) -> usize {
        match self.locked_until(now) {
            Some(_) => self.counted.len(),
            // What locked it is forgotten as a whole.
            None if self.counted.len() >= FAILURES_MAX => 0,
            None => self.counted.iter().filter(|one| Timestamp::from_millis(one.at).after(WINDOW) > now).count(),
        }
    }

    /// Until when it is locked; `None` when it is not at this moment.
    pub fn locked_until(&self, now: Timestamp) -> Option<Timestamp> {
        let newest = self.counted.iter().map(|one| one.at).max()?;
        let until = Timestamp::from_millis(newest).after(WINDOW);
        (self.counted.len() >= FAILURES_MAX && until > now).then_some(until)
    }

    /// Drops what is not counted any more.
    fn tidy(&mut self, now: Timestamp) {
        if self.locked_until(now).is_some() {
            return;
        }
        if self.counted.len() >= FAILURES_MAX {
            self.counted.clear();
            // It has been told by now, or is about to be.
            self.alert.clear();
        }
        self.counted.retain(|one| Timestamp::from_millis(one.at).after(WINDOW) > now);
    }
}

pub(crate) fn count(cx: &mut Context<'_, '_, '_, '_>, command: Count) -> Result<Reply, DomainError> {
    if command.code.is_empty() || command.code.len() > 64 {
        return Err(Refusal::invalid("code", "a hash of 1..64 bytes").into());
    }
    if !matches!(command.request.len(), 0 | 16) {
        return Err(Refusal::invalid("request_id", "16 bytes").into());
    }
    let mut terminal = match find(cx, &command.shop, &command.terminal) {
        Ok(terminal) if terminal.revoked == 0 => terminal,
        // Which of the names is wrong is not said.
        Ok(_) | Err(DomainError::Refused(_)) => return Err(Refusal::not_authenticated().into()),
        Err(halt) => return Err(halt),
    };
    let now = cx.now();
    terminal.tidy(now);
    let proven = terminal.is_proven_by(&command.secret);
    let known = terminal.counted.iter().find(|one| {
        proven && !command.request.is_empty() && one.request == command.request && one.code == command.code
    });
    if let Some(known) = known {
        let verdict = Verdict { kind: VerdictKind::Admitted.into(), number: known.number, locks: false };
        return Ok(Reply { verdict: Some(verdict), replayed: true, ..Reply::default() });
    }
    if let Some(until) = terminal.locked_until(now) {
        return Err(Refusal::locked(until, now).into());
    }
    let number = cx.generation().number();
    let code = if proven { command.code } else { Bytes::new() };
    terminal.counted.push(Counted { number, at: now.as_millis(), request: command.request, code });
    let until = terminal.locked_until(now);
    if let Some(until) = until {
        terminal.alert = tell_operators(cx, &terminal, until)?;
    }
    save(cx, &terminal)?;
    let kind = if proven { VerdictKind::Admitted } else { VerdictKind::Wrong };
    let verdict = Verdict { kind: kind.into(), number, locks: until.is_some() };
    Ok(Reply { verdict: Some(verdict), terminal: Some(terminal.shown()), ..Reply::default() })
}

pub(crate) fn forget(cx: &mut Context<'_, '_, '_, '_>, command: Forget) -> Result<Reply, DomainError> {
    let mut terminal = find(cx, &command.shop, &command.terminal)?;
    let before = terminal.counted.len();
    terminal.counted.retain(|one| one.number != command.number);
    let replayed = terminal.counted.len() == before;
    if !replayed {
        call_off(cx, &mut terminal)?;
        save(cx, &terminal)?;
    }
    Ok(Reply { terminal: Some(terminal.shown()), replayed, ..Reply::default() })
}

pub(crate) fn unlock(cx: &mut Context<'_, '_, '_, '_>, command: Unlock) -> Result<Reply, DomainError> {
    let mut terminal = find(cx, &command.shop, &command.terminal)?;
    let replayed = terminal.counted.is_empty();
    if !replayed {
        terminal.counted.clear();
        call_off(cx, &mut terminal)?;
        save(cx, &terminal)?;
    }
    Ok(Reply { terminal: Some(terminal.shown()), replayed, ..Reply::default() })
}

/// It is not locked any more: operators are not told, unless they have been.
fn call_off(cx: &mut Context<'_, '_, '_, '_>, terminal: &mut Terminal) -> Result<(), DomainError> {
    let alert = std::mem::take(&mut terminal.alert);
    triggers::drop_quietly(cx, &alert)
}

/// Schedules what tells the operators, and answers its id.
fn tell_operators(
    cx: &mut Context<'_, '_, '_, '_>,
    terminal: &Terminal,
    until: Timestamp,
) -> Result<String, DomainError> {
    let notice = Notice {
        news: News::TerminalLocked.into(),
        channels: vec![Channel::Operator.into()],
        shop: terminal.shop.clone(),
        terminal: terminal.id.clone(),
        until: until.as_millis(),
        ..Notice::default()
    };
    let id = triggers::id_of_shop(&terminal.shop, cx.generation().number());
    cx.schedule(Schedule {
        namespace: cx.namespace().to_owned(),
        id: id.clone(),
        topic: Channel::Operator.topic().to_owned(),
        when: Some(When::At(cx.now().after(ALERT_AFTER).as_millis())),
        shard_key: terminal.shop.clone(),
        payload: notice.encode_to_vec().into(),
        labels: vec![Label { key: "shop".to_owned(), value: terminal.shop.clone() }],
        priority: Class::Low as u32,
        retry: Some(triggers::retry(8, 1_000, 600_000)),
        ..Schedule::default()
    })?;
    Ok(id)
}
