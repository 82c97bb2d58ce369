//! The time of one partition as its leader stamps it: the node's clocks under the rules of [`crate::time_rules`].

use std::sync::Mutex;

use scheduler::time::{Delay, Timestamp};

use crate::clock::Clock;
use crate::time_rules::{Sample, TimeRules};

/// The clock of a term; shared by the proposer and the dispatcher of a partition.
#[derive(Debug)]
pub struct LeaderClock {
    partition: u32,
    clock: Clock,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    rules: TimeRules,
    alarm: Option<String>,
    /// Why the present moment is in doubt, while it is.
    hold: Option<String>,
}

impl LeaderClock {
    /// At the start of a term: `watermark` is the newest time in the log. A virtual clock has no others to agree with.
    pub fn new(partition: u32, clock: Clock, watermark: Timestamp, voters: usize) -> LeaderClock {
        let voters = if clock.is_virtual() { 1 } else { voters };
        // A virtual clock that was further ahead when the log was written goes on from there.
        clock.advance_to(watermark);
        let rules = TimeRules::new(watermark, voters, clock.mono());
        LeaderClock { partition, clock, inner: Mutex::new(Inner { rules, alarm: None, hold: None }) }
    }

    /// The moment for an entry proposed now. Never steps back.
    pub fn now(&self) -> Timestamp {
        let mut inner = self.lock();
        let stamp = inner.rules.stamp(self.clock.read());
        // A gap below a second is what an idle partition's first entry may show after its leader was paused.
        if let Some(from) = stamp.jumped_from.filter(|from| stamp.time.since(*from) >= Delay::from_secs(1)) {
            let gap = stamp.time.since(from);
            tracing::info!(partition = self.partition, %from, to = %stamp.time, %gap, "replicated time moved on at once");
        }
        match (&inner.alarm, &stamp.alarm) {
            (None, Some(alarm)) => tracing::warn!(partition = self.partition, %alarm, "clock alarm"),
            (Some(_), None) => tracing::info!(partition = self.partition, "clock alarm is over"),
            _ => {}
        }
        inner.hold = stamp.alarm.as_ref().filter(|alarm| alarm.is_hold()).map(ToString::to_string);
        inner.alarm = stamp.alarm.map(|alarm| alarm.to_string());
        stamp.time
    }

    /// What another voter's clock said.
    pub fn sample(&self, node: u64, sample: Sample) {
        self.lock().rules.sample(node, sample);
    }

    /// The number of voters, this node among them.
    pub fn set_voters(&self, voters: usize) {
        if !self.clock.is_virtual() {
            self.lock().rules.set_voters(voters);
        }
    }

    /// An operator vouches for this node's clock. Returns the time from now on.
    pub fn accept(&self) -> Timestamp {
        let mut inner = self.lock();
        let time = inner.rules.accept(self.clock.read());
        inner.hold = None;
        inner.alarm = None;
        time
    }

    /// Why the present moment is in doubt, while it is: as of the last stamp.
    pub fn hold(&self) -> Option<String> {
        self.lock().hold.clone()
    }

    /// What is wrong with the clocks, if something is: as of the last stamp.
    pub fn alarm(&self) -> Option<String> {
        self.lock().alarm.clone()
    }

    /// Waits until entries may be stamped with this moment.
    pub async fn sleep_until(&self, at: Timestamp) {
        loop {
            let left = at.since(self.now());
            if left == Delay::ZERO {
                return;
            }
            // Looked at again every second, since clocks may be set and others may agree meanwhile.
            let left = std::time::Duration::from_millis(left.as_millis().min(1_000));
            self.clock.sleep_until_mono(self.clock.mono() + left).await;
        }
    }

    /// The node's clocks.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("the rules' lock is never held over a panic")
    }
}
