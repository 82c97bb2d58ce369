//! The public protocol on one side, the words of the core on the other.

mod deliveries;
mod requests;
mod scalars;
mod topics;
mod trigger;
mod views;

pub use deliveries::{deliveries, held_of, lease, outcome_failed, outcome_of, outcome_results};
pub use requests::{
    Scheduled, cancel, drop_letter, fingerprint, requeue, reschedule, run_now, schedule, share_of, topic_settings,
    when_of,
};
pub use scalars::{Range, delay, delay_of, moment, moment_of, token, token_of};
pub use topics::topic;
pub use trigger::trigger;
pub use views::{late_trigger, local_time, receipt, schedule_response};
