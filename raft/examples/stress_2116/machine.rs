//! A state machine that counts what it applies.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{Stream, StreamExt};
use openraft::alias::{EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::storage::{ApplyResponder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, SnapshotMeta};
use raft::types::{AnyReply, TypeConfig};

/// How much was applied, and a checksum of it in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    pub applied: Option<LogIdOf<TypeConfig>>,
    pub membership: StoredMembershipOf<TypeConfig>,
    pub entries: u64,
    pub checksum: u32,
}

/// A state machine that counts.
#[derive(Default)]
pub struct Counter {
    pub image: Arc<Mutex<Image>>,
    pub snapshot: Arc<Mutex<Option<Arc<Image>>>>,
    pub installs: Arc<AtomicU64>,
    pub install_time: Duration,
}

pub struct Builder {
    image: Image,
    snapshot: Arc<Mutex<Option<Arc<Image>>>>,
}

/// What openraft wants to know of a snapshot.
pub fn meta(image: &Image) -> SnapshotMetaOf<TypeConfig> {
    SnapshotMeta { last_log_id: image.applied, last_membership: image.membership.clone() }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Arc<Image>;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, Arc<Image>>> {
        let image = Arc::new(self.image.clone());
        let mut newest = self.snapshot.lock().expect("a snapshot");
        if newest.as_ref().is_none_or(|known| known.applied < image.applied) {
            *newest = Some(image.clone());
        }
        Ok(Snapshot { meta: meta(&image), snapshot: image })
    }
}

impl RaftStateMachine<TypeConfig> for Counter {
    type SnapshotData = Arc<Image>;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogIdOf<TypeConfig>>, StoredMembershipOf<TypeConfig>)> {
        let image = self.image.lock().expect("an image");
        Ok((image.applied, image.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<(EntryOf<TypeConfig>, Option<ApplyResponder<TypeConfig>>)>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let mut image = self.image.lock().expect("an image");
            let expected = image.applied.map_or(0, |id| id.index + 1);
            if entry.log_id.index != expected {
                return Err(io::Error::other(format!("entry {} after {expected}", entry.log_id.index)));
            }
            image.applied = Some(entry.log_id);
            image.entries += 1;
            match entry.payload {
                EntryPayload::Normal(payload) => {
                    let mut checksum = crc32fast::Hasher::new_with_initial(image.checksum);
                    checksum.update(&payload.0);
                    image.checksum = checksum.finalize();
                }
                EntryPayload::Membership(members) => {
                    image.membership = StoredMembershipOf::<TypeConfig>::new(Some(entry.log_id), members);
                }
                EntryPayload::Blank => {}
            }
            drop(image);
            if let Some(responder) = responder {
                responder.send(AnyReply(None));
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { image: self.image.lock().expect("an image").clone(), snapshot: self.snapshot.clone() }
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMetaOf<TypeConfig>, image: Arc<Image>) -> io::Result<()> {
        tokio::time::sleep(self.install_time).await;
        self.installs.fetch_add(1, Ordering::Relaxed);
        *self.image.lock().expect("an image") = Image::clone(&image);
        *self.snapshot.lock().expect("a snapshot") = Some(image);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, Arc<Image>>>> {
        let newest = self.snapshot.lock().expect("a snapshot").clone();
        Ok(newest.map(|image| Snapshot { meta: meta(&image), snapshot: image }))
    }
}
