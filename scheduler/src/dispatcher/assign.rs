//! Which executor gets which shard: rendezvous hashing, so that partitions that see the same executors agree without
//! talking, and one that joins or leaves moves only what it must.

use super::types::SessionId;

/// Shards of a topic.
pub const SHARDS: u16 = 1_024;

/// The shard of a shard key; of the trigger's id when it has none. The same in every build and partition.
pub fn shard_of(key: &[u8]) -> u16 {
    (mix(fnv(key)) % u64::from(SHARDS)) as u16
}

/// Who gets the shards of one topic.
#[derive(Debug, Default)]
pub(super) struct Shards {
    members: Vec<Member>,
    /// Place in `members` of each shard's owner; empty while there are no members.
    owner: Vec<u32>,
    /// Grows with every change.
    pub version: u64,
}

/// An executor that takes part.
#[derive(Debug)]
pub(super) struct Member {
    pub session: SessionId,
    /// Shards it owns.
    pub owned: u32,
    /// As it was told.
    pub told: Option<u32>,
}

impl Shards {
    /// Whose rows wait in which queue.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// For telling them.
    pub fn members_mut(&mut self) -> &mut [Member] {
        &mut self.members
    }

    /// Place in [`Self::members`] of the owner; `None` while there are no members.
    pub fn owner(&self, shard: u16) -> Option<usize> {
        self.owner.get(usize::from(shard % SHARDS)).map(|&place| place as usize)
    }

    /// Shares the shards among these executors. Of two sessions of one name, the first given gets all.
    pub fn share<'a>(&mut self, executors: impl Iterator<Item = (SessionId, &'a str)>) {
        let told = std::mem::take(&mut self.members);
        self.owner.clear();
        self.version += 1;
        let mut seeds = Vec::new();
        for (session, name) in executors {
            let told = told.iter().find(|member| member.session == session).and_then(|member| member.told);
            self.members.push(Member { session, owned: 0, told });
            seeds.push(fnv(name.as_bytes()));
        }
        if seeds.is_empty() {
            return;
        }
        for shard in 0..SHARDS {
            let (mut best, mut best_weight) = (0, 0);
            for (place, &seed) in seeds.iter().enumerate() {
                let weight = mix(seed ^ mix(u64::from(shard) + 1));
                if weight > best_weight {
                    (best, best_weight) = (place, weight);
                }
            }
            self.owner.push(best as u32);
            self.members[best].owned += 1;
        }
    }
}

/// FNV-1a.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finalizer of splitmix64: FNV alone leaves the high bits of short keys poor.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(names: &[&str]) -> Shards {
        let mut shards = Shards::default();
        shards.share(names.iter().enumerate().map(|(place, name)| (SessionId(place as u64), *name)));
        shards
    }

    /// Red when the weight leaves the shard out: one executor then owns everything.
    #[test]
    fn shards_spread_evenly() {
        for member in shared(&["a-1", "a-2", "a-3", "a-4"]).members() {
            assert!((180..340).contains(&member.owned), "{} of {SHARDS}", member.owned);
        }
    }

    /// Red when the weight depends on the place among the members rather than on the name.
    #[test]
    fn one_that_leaves_moves_only_its_own() {
        let (before, after) = (shared(&["a", "b", "c"]), shared(&["a", "c"]));
        for shard in 0..SHARDS {
            match before.owner(shard).unwrap() {
                0 => assert_eq!(after.owner(shard), Some(0)),
                2 => assert_eq!(after.owner(shard), Some(1)),
                _ => {}
            }
        }
    }

    /// A stored promise: executors keep caches by shard. Red when any constant changes.
    #[test]
    fn the_shard_of_a_key_never_changes() {
        assert_eq!([shard_of(b""), shard_of(b"user-1"), shard_of(b"user-2")], [155, 856, 123]);
    }
}
