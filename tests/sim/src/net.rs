//! The network: every ordered pair of addresses is a link of its own that delays, loses, doubles or is cut.

use crate::events::{MS, Micros};
use crate::rng::Rng;

/// Who sends and receives: first the nodes, then the clients, then the executors.
pub type Address = usize;

/// How links behave in a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// Every message takes at least this long,
    pub delay: Micros,
    /// and up to this much longer.
    pub jitter: Micros,
    /// So many in a million take much longer still,
    pub tail_ppm: u32,
    /// up to this.
    pub tail: Micros,
    /// So many in a million are lost.
    pub loss_ppm: u32,
    /// So many in a million arrive twice.
    pub double_ppm: u32,
}

/// All links.
#[derive(Debug)]
pub struct Net {
    weather: Weather,
    addresses: usize,
    cut: Vec<bool>,
    rng: Rng,
}

/// When the copies of a message arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrivals {
    /// The first; `None` when it is lost.
    pub first: Option<Micros>,
    /// Another copy.
    pub second: Option<Micros>,
}

impl Net {
    /// A whole network.
    pub fn new(weather: Weather, addresses: usize, rng: Rng) -> Self {
        Net { weather, addresses, cut: vec![false; addresses * addresses], rng }
    }

    /// Other weather from now on.
    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// Cuts or mends the link from one to another, in that direction only.
    pub fn set_cut(&mut self, from: Address, to: Address, cut: bool) {
        self.cut[from * self.addresses + to] = cut;
    }

    /// Mends every link.
    pub fn mend(&mut self) {
        self.cut.fill(false);
    }

    /// Whether messages come through.
    pub fn is_cut(&self, from: Address, to: Address) -> bool {
        self.cut[from * self.addresses + to]
    }

    /// Whether messages come through both ways.
    pub fn is_joined(&self, one: Address, other: Address) -> bool {
        one == other || !self.is_cut(one, other) && !self.is_cut(other, one)
    }

    /// When a datagram sent `now` arrives. Datagrams overtake each other.
    pub fn send(&mut self, now: Micros, from: Address, to: Address) -> Arrivals {
        if from == to {
            return Arrivals { first: Some(now), second: None };
        }
        if self.is_cut(from, to) || self.rng.chance(self.weather.loss_ppm) {
            return Arrivals { first: None, second: None };
        }
        let first = now + self.delay();
        let second = self.rng.chance(self.weather.double_ppm).then(|| first + self.delay());
        Arrivals { first: Some(first), second }
    }

    /// When a segment of a stream sent `now` arrives, the one before having arrived at `last`; `None` when the stream is
    /// broken. What is lost is sent again, so it is late and nothing overtakes it.
    pub fn stream(&mut self, now: Micros, last: Micros, from: Address, to: Address) -> Option<Micros> {
        if self.is_cut(from, to) {
            return None;
        }
        let mut delay = self.delay();
        while self.rng.chance(self.weather.loss_ppm) && delay < 2_000 * MS {
            delay += 200 * MS;
        }
        Some(last.max(now + delay))
    }

    fn delay(&mut self) -> Micros {
        let mut delay = self.weather.delay + self.rng.below(self.weather.jitter + 1);
        if self.rng.chance(self.weather.tail_ppm) {
            delay += self.rng.below(self.weather.tail + 1);
        }
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_cut_one_way() {
        let mut net = Net::new(Weather { delay: 5, ..Weather::default() }, 3, Rng::new(1));
        net.set_cut(0, 1, true);
        assert_eq!(net.send(10, 0, 1).first, None);
        assert_eq!(net.send(10, 1, 0).first, Some(15));
        assert!(!net.is_joined(0, 1) && net.is_joined(1, 2));
        assert_eq!(net.stream(10, 0, 0, 1), None);
        net.mend();
        assert_eq!(net.stream(10, 40, 0, 1), Some(40));
    }

    #[test]
    fn weather_loses_and_doubles() {
        let weather = Weather { delay: 5, jitter: 5, loss_ppm: 200_000, double_ppm: 200_000, ..Weather::default() };
        let mut net = Net::new(weather, 2, Rng::new(1));
        let sent: Vec<Arrivals> = (0..1_000).map(|_| net.send(0, 0, 1)).collect();
        let lost = sent.iter().filter(|arrivals| arrivals.first.is_none()).count();
        let doubled = sent.iter().filter(|arrivals| arrivals.second.is_some()).count();
        assert!((150..250).contains(&lost) && (110..210).contains(&doubled), "{lost} {doubled}");
        assert!(sent.iter().all(|arrivals| arrivals.first.is_none_or(|at| (5..=10).contains(&at))));
    }
}
