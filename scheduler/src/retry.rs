//! When a failed attempt is made again.

use crate::command::RetryPolicy;
use crate::lane::Generation;
use crate::time::Delay;

/// The policy of a trigger, with what it leaves open taken from its topic.
pub fn effective(trigger: Option<&RetryPolicy>, topic: &RetryPolicy) -> RetryPolicy {
    let Some(own) = trigger else { return *topic };
    let or = |own: u64, topic: u64| if own == 0 { topic } else { own };
    let or_short = |own: u32, topic: u32| if own == 0 { topic } else { own };
    RetryPolicy {
        max_attempts: or_short(own.max_attempts, topic.max_attempts),
        initial_backoff_ms: or(own.initial_backoff_ms, topic.initial_backoff_ms),
        max_backoff_ms: or(own.max_backoff_ms, topic.max_backoff_ms),
        multiplier_percent: or_short(own.multiplier_percent, topic.multiplier_percent),
        jitter_percent_plus_one: or_short(own.jitter_percent_plus_one, topic.jitter_percent_plus_one),
    }
}

/// How long to wait after this failed attempt, counted from 1. At least a millisecond.
///
/// Grows by the multiplier up to the bound, then loses the jitter, drawn from the trigger's identity: the same on every
/// replica, another for every trigger and attempt.
pub fn backoff(policy: &RetryPolicy, generation: Generation, attempt: u32) -> Delay {
    let bound = policy.max_backoff_ms.max(1);
    let mut delay = policy.initial_backoff_ms.clamp(1, bound);
    for _ in 1..attempt {
        if delay >= bound || policy.multiplier_percent <= 100 {
            break;
        }
        let grown = u128::from(delay) * u128::from(policy.multiplier_percent) / 100;
        let grown = u64::try_from(grown).unwrap_or(u64::MAX).min(bound);
        if grown == delay {
            break;
        }
        delay = grown;
    }
    let percent = policy.jitter_percent_plus_one.saturating_sub(1).min(100);
    let jitter_max = (u128::from(delay) * u128::from(percent) / 100) as u64;
    let jitter = mix(generation.number() ^ u64::from(attempt) << 57) % (jitter_max.saturating_add(1));
    Delay::from_millis((delay - jitter).max(1))
}

/// The finalizer of splitmix64: every bit of the input moves every bit of the output.
fn mix(input: u64) -> u64 {
    let mut bits = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: RetryPolicy = RetryPolicy {
        max_attempts: 5,
        initial_backoff_ms: 1_000,
        max_backoff_ms: 60_000,
        multiplier_percent: 200,
        jitter_percent_plus_one: 1,
    };

    #[test]
    fn doubles_up_to_the_bound() {
        let delays: Vec<u64> =
            (1..=8).map(|attempt| backoff(&PLAIN, Generation::new(7, 0), attempt).as_millis()).collect();
        assert_eq!(delays, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    }

    #[test]
    fn what_a_trigger_leaves_open_comes_from_its_topic() {
        let own = RetryPolicy { max_attempts: 2, jitter_percent_plus_one: 1, ..RetryPolicy::default() };
        let topic = RetryPolicy { jitter_percent_plus_one: 51, ..PLAIN };
        assert_eq!(effective(Some(&own), &topic), RetryPolicy { max_attempts: 2, ..PLAIN });
        assert_eq!(effective(None, &topic), topic);
    }

    proptest! {
        /// Red when the jitter is added instead of taken off.
        #[test]
        fn jitter_is_taken_off_within_its_share(index in 1u64..1 << 40, attempt in 1u32..200, percent in 0u32..=100) {
            let policy = RetryPolicy { jitter_percent_plus_one: percent + 1, ..PLAIN };
            let full = backoff(&PLAIN, Generation::new(index, 0), attempt).as_millis();
            let delay = backoff(&policy, Generation::new(index, 0), attempt).as_millis();
            prop_assert!(delay <= full && delay >= (full - full * u64::from(percent) / 100).max(1));
        }

        #[test]
        fn any_policy_has_an_answer(max_attempts: u32, initial: u64, max: u64, multiplier: u32, jitter: u32, attempt: u32, number: u64) {
            let policy = RetryPolicy { max_attempts, initial_backoff_ms: initial, max_backoff_ms: max, multiplier_percent: multiplier, jitter_percent_plus_one: jitter };
            prop_assert!(backoff(&policy, Generation::from_number(number), attempt.min(1_000)).as_millis() >= 1);
        }
    }
}
