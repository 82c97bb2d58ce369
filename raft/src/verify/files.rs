//! The small files: whose the directory is, and where the rows of each partition lie.

use std::fs;

use super::{Damage, Look};
use crate::identity::offline;
use crate::store::{Current, Place};

impl Look<'_> {
    pub(super) fn owner(&mut self) {
        let dir = self.dir;
        match offline::owner(dir) {
            Ok(owner) => self.summary.owner = Some((owner.cluster, owner.node, owner.partitions)),
            Err(reason) => self.found(&dir.join("NODE"), None, reason, Some(Damage::Identity)),
        }
        match offline::heard_is_whole(dir) {
            Ok(0) => {}
            Ok(torn) => {
                let what = format!("its last line is torn: a start drops its {torn} bytes, which were never relied on");
                self.found(&dir.join("HEARD"), None, what, None);
            }
            Err(reason) => self.found(&dir.join("HEARD"), None, reason, Some(Damage::Identity)),
        }
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if !["NODE", "HEARD", "LOCK", "log", "state"].contains(&&*name) {
                let written = name.ends_with(".tmp");
                let what = if written { "left over from a write that was cut off" } else { "not of this program" };
                self.found(&entry.path(), None, what, None);
            }
        }
    }

    /// Every partition that has a directory, or should have one.
    pub(super) fn places(&mut self) -> Vec<(u32, Place)> {
        let state = self.dir.join("state");
        let partitions = self.summary.owner.as_ref().map(|owner| owner.2);
        let mut numbers = Vec::new();
        match fs::read_dir(&state) {
            Ok(entries) => {
                for entry in entries.flatten() {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    match name.parse::<u32>() {
                        Ok(number) if partitions.is_none_or(|partitions| number < partitions) => numbers.push(number),
                        _ => self.found(&entry.path(), None, "is no partition of this cluster", None),
                    }
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                self.found(&state, None, "there are no rows: the node has never been a member", None);
            }
            Err(e) => self.found(&state, None, format!("cannot be read: {e}"), Some(Damage::Unreadable)),
        }
        numbers.sort_unstable();
        numbers.into_iter().map(|number| (number, Place::new(state.join(number.to_string())))).collect()
    }

    /// The replica in a place, if one is there.
    pub(super) fn current(&mut self, place: &Place) -> Option<Current> {
        match place.read() {
            // Replica 0 says that there was one.
            Ok(current) => {
                let rows = place.all_rows();
                if current.is_none() && !rows.is_empty() {
                    let what = "there are rows and no file that says which count: a start deletes them";
                    self.found(&place.current_file(), None, what, Some(Damage::Identity));
                }
                current.filter(|current| current.replica > 0)
            }
            Err(error) => {
                let what = match error {
                    crate::Error::Foreign { reason, .. } => reason,
                    other => other.to_string(),
                };
                self.found(&place.current_file(), None, what, Some(Damage::Identity));
                None
            }
        }
    }

    /// Names what a start deletes or goes on with. Whether other rows are among it.
    pub(super) fn leftovers(&mut self, place: &Place, current: &Current) -> bool {
        let rows = place.rows(current);
        let others: Vec<_> = place.all_rows().into_iter().filter(|dir| *dir != rows).collect();
        for dir in &others {
            self.found(dir, None, "rows that do not count any more: a start deletes them", None);
        }
        let incoming = place.incoming();
        if incoming.exists() {
            let files = fs::read_dir(&incoming).map_or(0, |entries| entries.count());
            let what = format!(
                "{files} files of a snapshot on its way: its sender compares their checksums before it goes on"
            );
            self.found(&incoming, None, what, None);
        }
        if place.outgoing_dir().exists() {
            self.found(&place.outgoing_dir(), None, "a checkpoint that was being sent: a start deletes it", None);
        }
        !others.is_empty()
    }
}
