//! How changed behaviour gets into a cluster whose nodes are exchanged one by one.
//!
//! Every replica must apply an entry the same way, so what apply does may depend on the log alone and never on the build. Each entry
//! says at which feature level it is written ([`Entry::level`](crate::command::Entry::level)), the level of a partition is the
//! highest it has applied, and behaviour that changed looks at that. A leader writes at a higher level only once every
//! member has said that its build knows it; from then on an older build halts, at a start, at a snapshot or at an entry,
//! instead of applying what it does not understand.

/// The lowest level there is.
pub const LEVEL_FIRST: u32 = 1;

/// At which level a leader writes: the highest that its own build and all `others` know, never below the one in force.
///
/// `None` is a member that has not said what its build knows; it may be an older one, so nothing changes while there is one.
pub fn level_to_write(in_force: u32, own: u32, others: impl IntoIterator<Item = Option<u32>>) -> u32 {
    let in_force = in_force.max(LEVEL_FIRST);
    let common = others.into_iter().try_fold(own, |least, other| Some(least.min(other?)));
    common.map_or(in_force, |common| common.max(in_force))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when a member that is silent, or the oldest one, is not waited for; or when a level is taken back.
    #[test]
    fn a_level_is_written_once_everybody_knows_it_and_never_taken_back() {
        assert_eq!(level_to_write(0, 1, []), 1);
        assert_eq!(level_to_write(1, 2, [Some(2), Some(2)]), 2);
        assert_eq!(level_to_write(1, 3, [Some(2), Some(4)]), 2);
        assert_eq!(level_to_write(1, 2, [Some(2), Some(1)]), 1);
        assert_eq!(level_to_write(1, 2, [Some(2), None]), 1);
        assert_eq!(level_to_write(2, 2, [Some(1), None]), 2);
    }
}
