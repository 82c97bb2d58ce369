//! Nodes that die in the middle: at every place where the product can be made to (`raft::crash`), killed, or without power.
//!
//! A node is told where to die by a file; when it does depends on what it has to do, so each place says how to get there.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::{Error, Result, wait};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::nemesis::{Attempt, MEMBERS, World, others};

/// The build that can be told where to die.
pub const SERVER: &str = "bosingakd-next";
/// How long it may take until a node comes by the place.
const REACHED_WITHIN: Duration = Duration::from_secs(12);
/// How long it may take until a log is cut behind a node that is away: a checkpoint, and the next look at the log.
const LEFT_BEHIND_WITHIN: Duration = Duration::from_secs(40);

/// How a node dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// The process is gone; what it wrote is with the system, synced or not.
    Killed,
    /// What it had not synced is gone too.
    PowerCut,
}

/// One place and one way to die there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crash {
    /// Of `raft::crash::POINTS`.
    pub point: &'static str,
    /// How.
    pub how: How,
}

impl Crash {
    /// Every place once, each in a way the dice decide.
    #[must_use]
    pub fn deck(dice: &mut StdRng) -> Vec<Crash> {
        let how = |dice: &mut StdRng| if dice.random_bool(0.5) { How::Killed } else { How::PowerCut };
        raft::crash::POINTS.into_iter().map(|point| Crash { point, how: how(dice) }).collect()
    }

    /// The same place, the other way.
    #[must_use]
    pub fn otherwise(self) -> Crash {
        let how = if self.how == How::Killed { How::PowerCut } else { How::Killed };
        Crash { how, ..self }
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::Killed => "killed",
            How::PowerCut => "power cut",
        };
        f.pad(&format!("{}, {how}", self.point))
    }
}

/// What makes a node come by a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Whatever it does under load.
    Load,
    /// Another leader has to be elected.
    Election,
    /// Files of the log have to get full.
    FullFiles,
    /// It has to have been away for longer than log is kept.
    Absence,
    /// Another has to have been.
    AbsenceOfAnother,
}

fn way(point: &str) -> Way {
    match point {
        "vote-written" | "vote-synced" => Way::Election,
        "segment-taken" | "segment-created" | "segment-condemned" | "segment-dropped" => Way::FullFiles,
        "snapshot-made" | "snapshot-half-sent" => Way::AbsenceOfAnother,
        _ if point.starts_with("snapshot-") || point.starts_with("install-") || point.starts_with("file-") => {
            Way::Absence
        }
        _ => Way::Load,
    }
}

/// Whether somebody may be answered too early around a place.
fn answers(point: &str) -> bool {
    point.starts_with("log-") || point.starts_with("vote-")
}

/// The file that tells a node where to die.
#[must_use]
pub fn order_file(directory: &Path, node: u8) -> PathBuf {
    directory.join(format!("crash-{node}"))
}

impl World {
    /// Has a node die at a place, sees that the others go on, and brings it back.
    ///
    /// # Errors
    ///
    /// What did not go on, or did not come back.
    pub async fn crash(&mut self, crash: Crash) -> Result<Attempt> {
        self.progress("before a node dies").await?;
        let node = match way(crash.point) {
            Way::Load => self.anyone(),
            Way::Election | Way::Absence => self.follower().await?,
            Way::FullFiles | Way::AbsenceOfAnother => self.leader().await?,
        };
        let reached = self.provoke(node, crash).await;
        self.disarm(node)?;
        let attempt = match (reached?, crash.how) {
            (true, How::Killed) => {
                self.progress("without the node that died").await?;
                self.cluster.spawn(node.into())?;
                Attempt::Survived
            }
            (true, How::PowerCut) => {
                // Now, before the system writes out by itself what was not synced. What one node alone loses the others still have: where an
                // answer may have come before a sync, it is all of them.
                let off = if answers(crash.point) { &MEMBERS[..] } else { &[node] };
                self.start_missing()?;
                self.cut_power(off).await?;
                if off.len() == 1 {
                    self.progress("without the node that died").await?;
                }
                self.restore_power(off).await?;
                Attempt::Survived
            }
            (false, _) => {
                // It may have come by at the last moment, and stand there.
                self.cluster.kill(node.into())?;
                Attempt::Skipped(format!("node {node} did not come by within {REACHED_WITHIN:?}"))
            }
        };
        self.start_missing()?;
        self.healed().await?;
        Ok(attempt)
    }

    /// Starts members that do not run.
    fn start_missing(&mut self) -> Result<()> {
        for node in MEMBERS {
            if self.cluster.node(node.into()).pid().is_none() {
                self.cluster.spawn(node.into())?;
            }
        }
        Ok(())
    }

    fn disarm(&self, node: u8) -> Result<()> {
        match std::fs::remove_file(order_file(&self.orders, node)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Tells a node where to die, and does what makes it come by; whether it did.
    async fn provoke(&mut self, node: u8, crash: Crash) -> Result<bool> {
        let order = format!("{} {}", crash.point, if crash.how == How::Killed { "kill" } else { "stop" });
        let file = order_file(&self.orders, node);
        match way(crash.point) {
            Way::Load => {
                std::fs::write(&file, order)?;
                self.until_dead(node, crash).await
            }
            Way::Election => {
                let leader = self.leader().await?;
                std::fs::write(&file, order)?;
                self.cluster.kill(leader.into())?;
                let reached = self.until_dead(node, crash).await;
                self.cluster.spawn(leader.into())?;
                reached
            }
            Way::FullFiles => {
                std::fs::write(&file, order)?;
                for _ in 0..4 {
                    self.workload.fill_log().await?;
                    if self.until_dead(node, crash).await? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Way::Absence | Way::AbsenceOfAnother => {
                let others = others(node);
                let other = others[self.dice.random_range(0..others.len())];
                let (away, sender) = if way(crash.point) == Way::Absence { (node, None) } else { (other, Some(node)) };
                // Who leads meanwhile may be somebody else, whose log goes further back.
                for _ in 0..3 {
                    let cut = self.leave_behind(away, sender).await;
                    if cut.is_ok() {
                        std::fs::write(&file, &order)?;
                    }
                    self.cluster.spawn(away.into())?;
                    if cut.is_ok() && self.until_dead(node, crash).await? {
                        return Ok(true);
                    }
                    self.disarm(node)?;
                    self.healed().await?;
                }
                Ok(false)
            }
        }
    }

    /// Kills a node, and has so much written that what it missed is in nobody's log any more, or not in `sender`'s: whoever leads a
    /// partition then has to send it a snapshot.
    async fn leave_behind(&mut self, node: u8, sender: Option<u8>) -> Result<()> {
        let before = self.purged(None).await?;
        let ends: BTreeMap<u32, u64> = before.into_iter().map(|(partition, (last, _))| (partition, last)).collect();
        self.cluster.kill(node.into())?;
        self.workload.fill_log().await?;
        wait::until("log that is cut", LEFT_BEHIND_WITHIN, || async {
            let now = self.purged(sender).await.map_err(|error| error.to_string())?;
            let behind = now.iter().any(|(partition, (_, purged))| ends.get(partition).is_some_and(|end| purged > end));
            if behind { Ok(()) } else { Err(format!("logs ended at {ends:?}; ends and cuts now {now:?}")) }
        })
        .await
    }

    /// Where the logs of partitions end and where they are cut, as their leaders say, or this one of them.
    async fn purged(&self, of: Option<u8>) -> Result<BTreeMap<u32, (u64, u64)>> {
        let mut found = BTreeMap::new();
        for node in MEMBERS.into_iter().filter(|node| of.is_none_or(|of| of == *node)) {
            // One of them is away.
            let Ok(status) = self.cluster.status(node.into()).await else { continue };
            for partition in status.partitions.iter().filter(|partition| partition.leader == u64::from(node)) {
                found.insert(partition.partition, (partition.last_log_index, partition.purged_index));
            }
        }
        if found.is_empty() { Err(Error::new("nobody leads anything")) } else { Ok(found) }
    }

    /// Waits until a node has died the way it was told to, and there; false when it does not come by.
    async fn until_dead(&mut self, node: u8, crash: Crash) -> Result<bool> {
        let deadline = std::time::Instant::now() + REACHED_WITHIN;
        loop {
            let dead = match crash.how {
                How::Killed => self.cluster.has_ended(node.into())?,
                How::PowerCut => self.cluster.stands_still(node.into())?,
            };
            if dead {
                let log = self.cluster.node(node.into()).directory.join("log");
                let last = harness::process::tail(&log, 20);
                // A process that ends for a reason of its own is a finding.
                let there = last.contains(&format!("crash point {} reached", crash.point));
                return if there { Ok(true) } else { Err(Error(format!("node {node} died elsewhere:\n{last}"))) };
            }
            if std::time::Instant::now() > deadline {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    /// Red when a place is left out, or a second walk does not take the other way.
    #[test]
    fn two_walks_take_every_place_in_both_ways() {
        let first = Crash::deck(&mut StdRng::seed_from_u64(1));
        let mut both: Vec<Crash> = first.iter().flat_map(|crash| [*crash, crash.otherwise()]).collect();
        both.sort_unstable();
        both.dedup();
        assert_eq!(both.len(), 2 * raft::crash::POINTS.len());
        assert!(
            first.iter().any(|crash| crash.how == How::Killed) && first.iter().any(|crash| crash.how == How::PowerCut)
        );
    }
}
