//! Reports that are not known to be durable: kept, and sent again on every new stream, until a result arrives.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use client::retry::Backoff;
use proto::v1::{Delivery, DeliveryOutcome, HeldLease, delivery_outcome};

/// Outcomes in one message: large enough to amortise, small enough not to hold up deliveries behind it.
pub(super) const REPORT_MAX: usize = 1_000;

/// The reports of one partition.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    next_sequence: u64,
    reports: BTreeMap<u64, Report>,
    by_key: HashMap<(String, u64), u64>,
    unsent: BTreeSet<u64>,
    /// Reports answered with a passing error wait here.
    resting: BTreeSet<(Duration, u64)>,
}

/// A report and what it is about.
#[derive(Debug)]
pub(super) struct Report {
    pub delivery: Arc<Delivery>,
    pub outcome: delivery_outcome::Outcome,
    failures: u32,
    resting_until: Option<Duration>,
}

impl Outbox {
    /// A handler is done with a delivery.
    pub fn report(&mut self, delivery: Arc<Delivery>, outcome: delivery_outcome::Outcome) -> u64 {
        self.next_sequence += 1;
        self.by_key.insert((delivery.id.clone(), delivery.generation), self.next_sequence);
        let report = Report { delivery, outcome, failures: 0, resting_until: None };
        self.reports.insert(self.next_sequence, report);
        self.unsent.insert(self.next_sequence);
        self.next_sequence
    }

    /// Nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.reports.is_empty()
    }

    /// Everything unanswered counts as unsent: the stream it was sent on is gone.
    pub fn disconnected(&mut self) {
        self.resting.clear();
        for (sequence, report) in &mut self.reports {
            report.resting_until = None;
            self.unsent.insert(*sequence);
        }
    }

    /// The next message of unsent reports, oldest first; empty when there are none. They count as sent.
    pub fn take_unsent(&mut self, now: Duration) -> Vec<DeliveryOutcome> {
        while let Some(&(until, sequence)) = self.resting.first()
            && until <= now
        {
            self.resting.pop_first();
            if let Some(report) = self.reports.get_mut(&sequence) {
                report.resting_until = None;
                self.unsent.insert(sequence);
            }
        }
        let mut outcomes = Vec::with_capacity(self.unsent.len().min(REPORT_MAX));
        while outcomes.len() < REPORT_MAX
            && let Some(sequence) = self.unsent.pop_first()
        {
            if let Some(report) = self.reports.get(&sequence) {
                outcomes.push(report.outcome(sequence));
            }
        }
        outcomes
    }

    /// The report decided, or cannot any more: it is forgotten.
    pub fn settled(&mut self, sequence: u64) -> Option<Report> {
        let report = self.reports.remove(&sequence)?;
        self.by_key.remove(&(report.delivery.id.clone(), report.delivery.generation));
        self.unsent.remove(&sequence);
        if let Some(until) = report.resting_until {
            self.resting.remove(&(until, sequence));
        }
        Some(report)
    }

    /// The report could not be taken now: again after a while.
    pub fn unsettled(&mut self, now: Duration, sequence: u64, backoff: &Backoff, random: u32) {
        let Some(report) = self.reports.get_mut(&sequence) else {
            return;
        };
        if report.resting_until.is_some() || self.unsent.contains(&sequence) {
            return;
        }
        report.failures += 1;
        let until = now.saturating_add(backoff.delay(report.failures, random));
        report.resting_until = Some(until);
        self.resting.insert((until, sequence));
    }

    /// When a resting report is due to be sent.
    pub fn wake_at(&self) -> Option<Duration> {
        self.resting.first().map(|(until, _)| *until)
    }

    /// The leases of what is reported and unanswered.
    pub fn held(&self) -> impl Iterator<Item = HeldLease> + '_ {
        self.reports.values().map(|report| super::held_lease(&report.delivery))
    }

    /// How many reports there are.
    pub fn len(&self) -> usize {
        self.reports.len()
    }

    /// The unanswered report about this piece of work.
    pub fn find(&self, id: &str, generation: u64) -> Option<(u64, &Report)> {
        let sequence = *self.by_key.get(&(id.to_owned(), generation))?;
        self.reports.get(&sequence).map(|report| (sequence, report))
    }

    /// It was handed out again after it had been done: reports it under the newer lease.
    pub fn report_again(&mut self, sequence: u64, delivery: Arc<Delivery>) {
        if let Some(report) = self.reports.get_mut(&sequence) {
            report.delivery = delivery;
            if let Some(until) = report.resting_until.take() {
                self.resting.remove(&(until, sequence));
            }
            self.unsent.insert(sequence);
        }
    }
}

impl Report {
    fn outcome(&self, sequence: u64) -> DeliveryOutcome {
        DeliveryOutcome {
            namespace: self.delivery.namespace.clone(),
            id: self.delivery.id.clone(),
            generation: self.delivery.generation,
            token: self.delivery.token,
            outcome: Some(self.outcome.clone()),
            sequence,
            partition: self.delivery.partition,
            attempt: self.delivery.attempt,
        }
    }
}
