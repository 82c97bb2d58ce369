//! What a client believes about who leads what, and whom it asks next. A calculation over news and moments; a wrong
//! belief costs a forwarded call, never a wrong answer.

use std::collections::BTreeMap;
use std::time::Duration;

/// An endpoint that failed is passed over for this long while there are others.
pub const COOL_DOWN: Duration = Duration::from_secs(1);
/// Beliefs older than this are worth asking about again.
pub const REFRESH: Duration = Duration::from_secs(10);

/// Beliefs about leaders, and the endpoints to fall back to.
#[derive(Clone, Debug)]
pub struct Leaders {
    /// As configured, in order.
    seeds: Vec<String>,
    /// Index in `seeds` of the one in use.
    current: usize,
    by_partition: BTreeMap<u32, Leader>,
    partitions: u32,
    /// Until when an endpoint is passed over.
    cooling: BTreeMap<String, Duration>,
    /// When leaders should be asked for again.
    refresh_at: Duration,
}

#[derive(Clone, Debug)]
struct Leader {
    endpoint: String,
    term: u64,
}

impl Leaders {
    /// Knows only its seeds.
    ///
    /// # Panics
    ///
    /// If there are none: the builder refuses that.
    pub fn new(seeds: Vec<String>) -> Self {
        assert!(!seeds.is_empty(), "a client needs at least one endpoint");
        Leaders {
            seeds,
            current: 0,
            by_partition: BTreeMap::new(),
            partitions: 0,
            cooling: BTreeMap::new(),
            refresh_at: Duration::ZERO,
        }
    }

    /// Number of partitions; 0 while unknown.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// A node told all it knows: (partition, endpoint, term). An empty endpoint means that there is no leader now. News
    /// of an older term than what is known is dropped: nodes hear of elections at different times.
    pub fn learned(&mut self, now: Duration, news: impl IntoIterator<Item = (u32, String, u64)>) {
        let mut count = 0;
        for (partition, endpoint, term) in news {
            count = count.max(partition + 1);
            match self.by_partition.get(&partition) {
                Some(known) if known.term > term => {}
                _ if endpoint.is_empty() => {
                    self.by_partition.remove(&partition);
                }
                _ => {
                    self.by_partition.insert(partition, Leader { endpoint, term });
                }
            }
        }
        // The number of partitions is fixed at creation; a shorter answer is a node that is still starting.
        self.partitions = self.partitions.max(count);
        self.refresh_at = now.saturating_add(REFRESH);
    }

    /// An answer named the leader of a partition. It is newer than what was believed, though its term is unknown.
    pub fn hinted(&mut self, partition: u32, endpoint: &str) {
        let term = self.by_partition.get(&partition).map_or(0, |known| known.term);
        self.by_partition.insert(partition, Leader { endpoint: endpoint.to_owned(), term });
        self.cooling.remove(endpoint);
    }

    /// A call to this endpoint failed in a way that another might not.
    pub fn failed(&mut self, now: Duration, endpoint: &str) {
        self.by_partition.retain(|_, leader| leader.endpoint != endpoint);
        self.cooling.retain(|_, until| *until > now);
        self.cooling.insert(endpoint.to_owned(), now.saturating_add(COOL_DOWN));
        if self.seeds[self.current] == endpoint {
            self.current = (self.current + 1) % self.seeds.len();
        }
        // Leadership has probably moved; a storm of failures still asks only once in a while.
        self.refresh_at = self.refresh_at.min(now.saturating_add(COOL_DOWN));
    }

    /// Whom to ask about this partition (`None`: about anything): its leader if known, else the seed in use, else the
    /// next one that has not just failed, else the seed in use after all.
    pub fn pick(&self, now: Duration, partition: Option<u32>) -> &str {
        let known = partition.and_then(|partition| self.by_partition.get(&partition));
        if let Some(leader) = known
            && !self.is_cooling(now, &leader.endpoint)
        {
            return &leader.endpoint;
        }
        let order = (0..self.seeds.len()).map(|i| &self.seeds[(self.current + i) % self.seeds.len()]);
        let rested = order.clone().find(|endpoint| !self.is_cooling(now, endpoint));
        rested.unwrap_or(&self.seeds[self.current])
    }

    /// The believed leader of a partition.
    pub fn leader(&self, partition: u32) -> Option<&str> {
        self.by_partition.get(&partition).map(|leader| leader.endpoint.as_str())
    }

    /// True once per interval when beliefs should be refreshed; the caller then asks.
    pub fn take_refresh(&mut self, now: Duration) -> bool {
        let due = now >= self.refresh_at;
        if due {
            self.refresh_at = now.saturating_add(COOL_DOWN);
        }
        due
    }

    fn is_cooling(&self, now: Duration, endpoint: &str) -> bool {
        self.cooling.get(endpoint).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn three() -> Leaders {
        Leaders::new(vec!["a".into(), "b".into(), "c".into()])
    }

    #[test]
    fn leaders_are_preferred_to_seeds() {
        let mut leaders = three();
        assert_eq!(leaders.pick(S, Some(1)), "a");
        leaders.learned(S, [(0, "b".to_owned(), 3), (1, "x".to_owned(), 3)]);
        assert_eq!(leaders.pick(S, Some(1)), "x");
        assert_eq!(leaders.pick(S, None), "a");
        assert_eq!(leaders.partitions(), 2);
    }

    #[test]
    fn old_news_does_not_replace_newer() {
        let mut leaders = three();
        leaders.learned(S, [(0, "b".to_owned(), 3)]);
        leaders.learned(S, [(0, "a".to_owned(), 2)]);
        assert_eq!(leaders.leader(0), Some("b"));
        leaders.learned(S, [(0, String::new(), 4)]);
        assert_eq!(leaders.leader(0), None);
    }

    #[test]
    fn a_failed_endpoint_is_forgotten_and_passed_over_for_a_while() {
        let mut leaders = three();
        leaders.learned(S, [(0, "a".to_owned(), 3), (1, "b".to_owned(), 3)]);
        leaders.failed(S, "a");
        assert_eq!(leaders.leader(0), None);
        assert_eq!(leaders.pick(S, None), "b");
        assert_eq!(leaders.pick(S, Some(1)), "b");
        leaders.failed(S, "b");
        leaders.failed(S, "c");
        // All failed: some seed is still tried, and after the cool-down all are equal again.
        assert_eq!(leaders.pick(S, None), "a");
        leaders.hinted(1, "b");
        assert_eq!(leaders.pick(S, Some(1)), "b");
    }

    #[test]
    fn beliefs_are_refreshed_on_failure_but_not_in_a_storm() {
        let mut leaders = three();
        assert!(leaders.take_refresh(S));
        leaders.learned(S, [(0, "a".to_owned(), 1)]);
        assert!(!leaders.take_refresh(5 * S));
        for _ in 0..100 {
            leaders.failed(5 * S, "a");
        }
        assert!(!leaders.take_refresh(5 * S));
        assert!(leaders.take_refresh(6 * S));
        assert!(!leaders.take_refresh(6 * S));
    }
}
