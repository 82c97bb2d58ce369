//! What the first request of an idempotency key was answered with.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::book::Answer;

/// How long a key is known, as published: 15 days.
const KEPT_FOR: Duration = Duration::from_secs(15 * 24 * 3_600);
/// Keys that are known at a time; beyond it the oldest is forgotten.
const KEYS_MAX: usize = 2_000_000;

/// Answers by call (path and key).
#[derive(Default)]
pub(super) struct Replies {
    first: HashMap<String, Reply>,
    /// In the order in which they came.
    calls: VecDeque<(Instant, String)>,
}

struct Reply {
    status: u16,
    /// As text: of the hundreds of thousands of a load run, a fifth of what they take as values.
    body: Box<str>,
    /// Until then the first request is under way.
    ready: Instant,
}

impl Replies {
    /// What a repeated call is answered with. `None`: it is the first.
    pub(super) fn of(&mut self, call: &str, now: Instant) -> Option<Answer> {
        while self.calls.front().is_some_and(|(kept, _)| now.duration_since(*kept) > KEPT_FOR) {
            self.forget_oldest();
        }
        let reply = self.first.get(call)?;
        if now < reply.ready {
            let message = "이전 멱등 요청이 처리중입니다.";
            return Some(Answer::error(409, "IDEMPOTENT_REQUEST_PROCESSING", message));
        }
        // What was written from a value reads as one.
        Some(Answer { status: reply.status, body: serde_json::from_str(&reply.body).unwrap_or_default() })
    }

    /// Keeps the answer to a first call, which leaves at `ready`.
    pub(super) fn keep(&mut self, call: String, answer: &Answer, now: Instant, ready: Instant) {
        if self.calls.len() >= KEYS_MAX {
            self.forget_oldest();
        }
        self.calls.push_back((now, call.clone()));
        self.first.insert(call, Reply { status: answer.status, body: answer.body.to_string().into(), ready });
    }

    fn forget_oldest(&mut self) {
        if let Some((_, call)) = self.calls.pop_front() {
            self.first.remove(&call);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_answered_alike_for_fifteen_days() {
        let mut replies = Replies::default();
        let start = Instant::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        assert!(replies.of("confirm k", start).is_none());
        let answer = Answer::error(403, "REJECT_CARD_PAYMENT", "no");
        replies.keep("confirm k".into(), &answer, start, after(10));
        assert_eq!(replies.of("confirm k", after(9)).map(|answer| answer.status), Some(409));
        assert_eq!(replies.of("confirm k", after(10)), Some(answer));
        assert!(replies.of("cancel k", after(10)).is_none());
        assert!(replies.of("confirm k", after(15 * 24 * 3_600)).is_some());
        assert!(replies.of("confirm k", after(15 * 24 * 3_600 + 1)).is_none());
        assert!(replies.first.is_empty() && replies.calls.is_empty());
    }
}
