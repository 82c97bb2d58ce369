//! The public protocol on one side, the words of the core on the other.

mod requests;
mod scalars;
mod views;

pub use requests::{
    Scheduled, cancel, drop_letter, fingerprint, report_of, requeue, reschedule, run_now, schedule, topic_settings,
    when_of,
};
pub use scalars::{Range, delay, delay_of, moment, moment_of, token, token_of};
pub use views::{local_time, outcome_result, receipt, schedule_response};
