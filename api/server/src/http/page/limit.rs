//! How often one client may ask for pages, in bounded memory.
//!
//! A cell is the moment up to which what was asked for is paid off (the theoretical arrival time of the generic cell rate algorithm,
//! ITU-T I.371). Addresses are not kept: each has two cells of a fixed table, by two hashes with keys of this process, and is
//! refused when both say so. So one that shares a cell with somebody busy is not refused for that, and nobody can choose whose cells to share.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Cells: 256 KiB.
const CELLS: usize = 1 << 15;
/// What may come at once, in seconds of the rate.
const BURST: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Limit {
    between_ns: u64,
    cells: Mutex<Box<[u64]>>,
    hashes: [RandomState; 2],
}

impl Limit {
    /// So many in a second, ten seconds' worth of them at once.
    pub(super) fn new(per_second: NonZeroU32) -> Limit {
        Limit {
            between_ns: 1_000_000_000 / u64::from(per_second.get()),
            cells: Mutex::new(vec![0; CELLS].into()),
            hashes: [RandomState::new(), RandomState::new()],
        }
    }

    /// Counts one, `now` after a moment that is always the same; or says how long it takes until one more is fine, and counts nothing.
    ///
    /// # Errors
    ///
    /// How long.
    pub(super) fn take(&self, client: IpAddr, now: Duration) -> Result<(), Duration> {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (now, client) = (nanos(now), key(client));
        let [one, other] = self.hashes.each_ref().map(|hash| hash.hash_one(client) as usize % CELLS);
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        // The smaller one is nearer to the truth: others can only have added to it.
        let paid_off = cells[one].min(cells[other]).max(now).saturating_add(self.between_ns);
        let latest = now.saturating_add(nanos(BURST));
        if paid_off > latest {
            return Err(Duration::from_nanos(paid_off - latest));
        }
        for cell in [one, other] {
            cells[cell] = cells[cell].max(paid_off);
        }
        Ok(())
    }
}

/// What counts as one client: an address, of which IPv6 gives everybody 64 bits.
fn key(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(number: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(number))
    }

    fn limit(per_second: u32) -> Limit {
        Limit::new(NonZeroU32::new(per_second).expect("not 0"))
    }

    fn taken(limit: &Limit, client: IpAddr, now: Duration) -> usize {
        (0..1_000).take_while(|_| limit.take(client, now).is_ok()).count()
    }

    #[test]
    fn ten_seconds_worth_at_once_and_then_as_time_goes_by() {
        let (limit, client) = (limit(5), of(7));
        let start = Duration::from_secs(3);
        assert_eq!(taken(&limit, client, start), 50);
        let wait = limit.take(client, start).expect_err("refused");
        assert_eq!(wait, Duration::from_millis(200));
        // What was refused was not counted.
        assert_eq!(taken(&limit, client, start + wait), 1);
        assert_eq!(taken(&limit, client, start + wait + Duration::from_secs(4)), 20);
        assert_eq!(taken(&limit, client, start + Duration::from_secs(3_600)), 50);
        assert_eq!(taken(&limit, of(8), start), 50, "somebody else");
    }

    #[test]
    fn many_clients_do_not_stand_in_each_others_way() {
        let limit = limit(5);
        let now = Duration::ZERO;
        for busy in 0..100 {
            taken(&limit, of(busy), now);
        }
        // Of two thousand others each shares both cells with busy ones by a chance of 1 in 25,000.
        let refused = (1_000..3_000).filter(|other| limit.take(of(*other), now).is_err()).count();
        assert!(refused <= 5, "{refused}");
    }

    #[test]
    fn half_an_address_of_ipv6_is_a_client() {
        let limit = limit(5);
        let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
        assert_eq!(taken(&limit, address("2001:db8:0:1::1"), Duration::ZERO), 50);
        assert_eq!(taken(&limit, address("2001:db8:0:1:ffff::2"), Duration::ZERO), 0);
        assert_eq!(taken(&limit, address("2001:db8:0:2::1"), Duration::ZERO), 50);
        assert_eq!(taken(&limit, address("192.0.2.1"), Duration::ZERO), 50);
        assert_eq!(taken(&limit, address("::ffff:192.0.2.1"), Duration::ZERO), 0);
    }
}
