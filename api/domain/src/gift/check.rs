//! What a gift can be: bounds of its fields and moments. The edge checks them too, with better words; apply relies on nothing.

use scheduler::command::LocalTime;
use scheduler::time::{Delay, Timestamp};

use crate::refusal::Refusal;

use super::{Party, Reserve};

/// A gift is sent this long after it is reserved, at least.
pub const SEND_AHEAD_MIN: Delay = Delay::from_secs(600);
/// And at most: a year, which may be a leap year.
pub const SEND_AHEAD_MAX: Delay = Delay::from_days(366);
/// A gift can be changed until this long before it is sent.
pub const EDIT_BEFORE: Delay = Delay::from_secs(3_600);
/// Unicode scalar values of a message.
pub const MESSAGE_CHARS_MAX: usize = 500;

fn require(holds: bool, field: &str, expected: &str) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::invalid(field, expected)) }
}

/// A command that reserves.
pub(super) fn reserve(command: &Reserve, now: Timestamp) -> Result<(), Refusal> {
    id("gift_id", &command.gift)?;
    let sender = command.sender.as_ref().ok_or_else(|| Refusal::invalid("sender", "present"))?;
    require(
        (1..=64).contains(&sender.id.len()) && sender.id.bytes().all(|byte| byte.is_ascii_graphic()),
        "sender.id",
        "1..64 printable ASCII characters",
    )?;
    check_party("sender", sender)?;
    let recipient = command.recipient.as_ref().ok_or_else(|| Refusal::invalid("recipient", "present"))?;
    check_party("recipient", recipient)?;
    message(&command.message)?;
    local(command.local.as_ref())?;
    send_at(command.send_at, now)
}

pub(super) fn id(field: &str, id: &str) -> Result<(), Refusal> {
    let allowed = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    require(allowed && (1..=64).contains(&id.len()), field, "1..64 characters of [A-Za-z0-9_-]")
}

pub(super) fn message(message: &str) -> Result<(), Refusal> {
    require(message.chars().count() <= MESSAGE_CHARS_MAX, "message", "at most 500 characters")
}

pub(super) fn send_at(send_at: u64, now: Timestamp) -> Result<(), Refusal> {
    let at = Timestamp::from_millis(send_at);
    let ahead = at >= now.after(SEND_AHEAD_MIN) && at <= now.after(SEND_AHEAD_MAX);
    require(ahead, "send_at", "10 minutes to 366 days ahead of the cluster's time")
}

/// What a trigger can carry: it is scheduled when the gift is paid, too late to refuse.
pub(super) fn local(local: Option<&LocalTime>) -> Result<(), Refusal> {
    let short = |local: &LocalTime| local.date_time.len() <= 64 && local.zone.len() <= 64 && local.tzdb.len() <= 64;
    require(local.is_none_or(short), "local", "at most 64 bytes in each field")
}

/// Refuses what a person cannot be, naming the field.
///
/// # Errors
///
/// [`Reason::Invalid`](crate::Reason::Invalid).
pub fn check_party(field: &str, party: &Party) -> Result<(), Refusal> {
    let require = |holds: bool, name: &str, expected: &str| require(holds, &format!("{field}.{name}"), expected);
    require(party.id.len() <= 64, "id", "at most 64 bytes")?;
    require(party.name.chars().count() <= 60, "name", "at most 60 characters")?;
    require(party.phone.is_empty() || is_e164(&party.phone), "phone", "E.164, such as +821012345678, or none")?;
    require(party.kakao.len() <= 64, "kakao", "at most 64 bytes")?;
    require(party.email.len() <= 254, "email", "at most 254 bytes")?;
    require(party.push_token.len() <= 512, "push_token", "at most 512 bytes")?;
    require(party.zone.len() <= 64, "zone", "an IANA name of at most 64 bytes")?;
    require(party.language.len() <= 16, "language", "ko or en")
}

fn is_e164(phone: &str) -> bool {
    let Some(digits) = phone.strip_prefix('+') else { return false };
    (8..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}
