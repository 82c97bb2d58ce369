//! Watching triggers: what matches now, then every change.
//!
//! Any node answers, from its own replicas: what they applied is committed, so nothing is shown that could be undone,
//! though a replica may be a moment behind. Changes by command are kept for a while by [`crate::feed`], which is what
//! makes a watch resumable; a trigger that fires by time alone is found by looking at what fell due in between.

use std::collections::{BTreeMap, BTreeSet};

use proto::v1;
use scheduler::lane::{Class, LaneId, Position};
use scheduler::read::{self, ListQuery, TriggerView};
use scheduler::store::StoreError;
use scheduler::time::Timestamp;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::list::{from_hex, query_of, to_hex};
use super::{Answers, Services};
use crate::convert;
use crate::error::Error;
use crate::feed::Changed;
use crate::node::Node;
use crate::partition::Partition;
use crate::validate::Violations;

/// Events made ahead of what the connection has taken.
const EVENTS_AHEAD: usize = 64;
/// Rows looked at in one go when many fire at once.
const ROWS_AT_ONCE: usize = 1_000;

type Events = mpsc::Sender<Result<v1::WatchResponse, Status>>;

/// Where a watch is in one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Changes up to this index have been told.
    index: u64,
    /// What fired by time up to here has been told.
    watermark: Timestamp,
}

/// What is watched.
struct Watch {
    namespace: String,
    /// One trigger, or all that match.
    id: Option<String>,
    query: ListQuery,
    partitions: Vec<Partition>,
    places: BTreeMap<u32, Place>,
    events: Events,
}

impl Services {
    pub(crate) fn watch_triggers(&self, message: v1::WatchRequest) -> Result<Answers<v1::WatchResponse>, Error> {
        Ok(self.begin_watch(message)?.stream())
    }

    /// Checks what is to be watched.
    pub(crate) fn begin_watch(&self, message: v1::WatchRequest) -> Result<Begun, Error> {
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", message.namespace);
        if !message.id.is_empty() {
            v.id("id", &message.id);
        }
        let mut query = query_of(&mut v, namespace, message.filter.unwrap_or_default());
        query.limit = ROWS_AT_ONCE;
        let namespace = query.namespace.clone();
        let places = parse_cursor(&message.cursor);
        v.require(places.is_some(), "cursor", || "expected the cursor of an earlier event".into());
        v.finish(())?;
        let resumed = !message.cursor.is_empty();
        let id = Some(message.id).filter(|id| !id.is_empty());
        let partitions: Vec<Partition> = match &id {
            Some(id) => vec![self.node.partition_of(&namespace, id).clone()],
            None => self.node.partitions().to_vec(),
        };
        let places = places.unwrap_or_default();
        if resumed && partitions.iter().any(|partition| !places.contains_key(&partition.number())) {
            return Err(Error::invalid("cursor", "expected the cursor of a watch with the same id and filter"));
        }
        Ok(Begun { node: self.node.clone(), namespace, id, query, partitions, places, resumed })
    }
}

/// A watch that has been checked and not been begun.
pub(crate) struct Begun {
    node: Node,
    namespace: String,
    id: Option<String>,
    query: ListQuery,
    partitions: Vec<Partition>,
    places: BTreeMap<u32, Place>,
    resumed: bool,
}

impl Begun {
    /// Whose triggers.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Says at once what the stream would say first: that the cursor is too old.
    pub(crate) fn check_cursor(&self) -> Result<(), Error> {
        let kept = |partition: &Partition| match self.places.get(&partition.number()) {
            Some(place) => partition.feed().is_kept(place.index),
            None => true,
        };
        if self.partitions.iter().all(kept) { Ok(()) } else { Err(Error::StaleCursor) }
    }

    /// The events.
    pub(crate) fn stream(self) -> Answers<v1::WatchResponse> {
        let Begun { node, namespace, id, query, partitions, places, resumed } = self;
        let (events, stream) = mpsc::channel(EVENTS_AHEAD);
        let watch = Watch { namespace, id, query, partitions, places, events: events.clone() };
        tokio::spawn(async move {
            let result = tokio::select! {
                result = watch.run(resumed) => result,
                () = events.closed() => Ok(()),
                () = node.stopping() => Err(Error::ShuttingDown),
            };
            if let Err(error) = result {
                // The watcher may be gone already.
                let _ = events.send(Err(error.into())).await;
            }
        });
        Box::pin(ReceiverStream::new(stream))
    }
}

impl Watch {
    async fn run(mut self, resumed: bool) -> Result<(), Error> {
        if !resumed {
            for at in 0..self.partitions.len() {
                self.list(at).await?;
            }
            self.tell(v1::WatchEventKind::Synced, None).await?;
        }
        let mut progress: Vec<_> = self.partitions.iter().map(|partition| partition.feed().progress()).collect();
        loop {
            for (at, progress) in progress.iter_mut().enumerate() {
                progress.mark_unchanged();
                self.tell_changes(at).await?;
            }
            let changed = progress.iter_mut().map(|progress| Box::pin(progress.changed()));
            let (result, _, _) = futures::future::select_all(changed).await;
            if result.is_err() {
                return Err(Error::ShuttingDown);
            }
        }
    }

    /// Tells what matches now, and remembers from where to go on.
    async fn list(&mut self, at: usize) -> Result<(), Error> {
        let partition = self.partitions[at].clone();
        // Before the rows are read: what changes in between is told twice rather than never.
        let progress = *partition.feed().progress().borrow();
        let place = Place { index: progress.index, watermark: progress.watermark };
        self.places.insert(partition.number(), place);
        if let Some(id) = self.id.clone() {
            let found = partition.read_local(|rows| read::get(rows, &self.namespace, &id))?;
            if let Some(view) = found.filter(|view| self.matches(view)) {
                self.tell(v1::WatchEventKind::Listed, Some((partition.number(), view))).await?;
            }
            return Ok(());
        }
        let mut after = None;
        loop {
            let page = partition.read_local(|rows| read::list(rows, &self.query, after))?;
            for view in page.items {
                self.tell(v1::WatchEventKind::Listed, Some((partition.number(), view))).await?;
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Tells what changed since the last time.
    async fn tell_changes(&mut self, at: usize) -> Result<(), Error> {
        let partition = self.partitions[at].clone();
        let number = partition.number();
        let place = self.places.get(&number).copied().unwrap_or_default();
        let now = *partition.feed().progress().borrow();
        if now.index < place.index {
            // A cursor from a node that was ahead of this one.
            return Ok(());
        }
        let changes = partition.feed().changes_after(place.index).ok_or(Error::StaleCursor)?;
        let (mut ids, mut released) = (BTreeSet::new(), BTreeMap::new());
        for change in changes {
            match change.what {
                Changed::Trigger { namespace, id } if namespace == self.namespace => drop(ids.insert(id)),
                Changed::Trigger { .. } => {}
                // The first of several begins the earliest.
                Changed::Released { lane, after } => drop(released.entry(lane).or_insert(after)),
            }
        }
        if now.watermark > place.watermark || !released.is_empty() {
            let fired =
                partition.read_local(|rows| self.fired_since(rows, place.watermark, now.watermark, &released))?;
            ids.extend(fired);
        }
        if let Some(id) = &self.id {
            ids.retain(|changed| changed == id);
        }
        // Before the events, so that each can be resumed after: what is told twice is harmless, what is not told is not.
        for id in ids {
            let found = partition.read_local(|rows| read::get(rows, &self.namespace, &id))?;
            if let Some(view) = found.filter(|view| self.matches(view)) {
                self.tell(v1::WatchEventKind::Changed, Some((number, view))).await?;
            }
        }
        self.places.insert(number, Place { index: now.index, watermark: now.watermark });
        Ok(())
    }

    /// Triggers that fired between two watermarks, because time came to them or because their lane let them pass.
    fn fired_since(
        &self,
        rows: &dyn scheduler::store::Read,
        from: Timestamp,
        to: Timestamp,
        released: &BTreeMap<LaneId, Position>,
    ) -> Result<Vec<String>, StoreError> {
        let mut ids = Vec::new();
        for topic in read::topics(rows)? {
            let wanted =
                topic.namespace == self.namespace && self.query.topic.as_ref().is_none_or(|name| *name == topic.name);
            if !wanted {
                continue;
            }
            for class in [Class::High, Class::Normal, Class::Low] {
                let lane = topic.lane(class);
                let due = Position::end_of(from);
                let mut after = Some(released.get(&lane).map_or(due, |released| due.min(*released)));
                while let Some(at) = after {
                    let found = read::due_rows(rows, lane, at, Position::end_of(to), ROWS_AT_ONCE, usize::MAX)?;
                    ids.extend(found.rows.into_iter().map(|row| row.id));
                    after = found.next;
                }
            }
        }
        Ok(ids)
    }

    fn matches(&self, view: &TriggerView) -> bool {
        self.query.topic.as_ref().is_none_or(|topic| *topic == view.topic) && self.query.matches(view)
    }

    async fn tell(&self, kind: v1::WatchEventKind, found: Option<(u32, TriggerView)>) -> Result<(), Error> {
        let event = v1::WatchResponse {
            kind: kind as i32,
            trigger: found.map(|(partition, view)| convert::trigger(partition, view)),
            // While listing there is nothing to resume: the next watch lists again.
            cursor: if kind == v1::WatchEventKind::Listed { String::new() } else { cursor_text(&self.places) },
        };
        // A watcher that hung up ends the task by itself.
        let _ = self.events.send(Ok(event)).await;
        Ok(())
    }
}

pub(crate) fn cursor_text(places: &BTreeMap<u32, Place>) -> String {
    let bytes: Vec<u8> = places
        .iter()
        .flat_map(|(partition, place)| {
            let watermark = place.watermark.as_millis();
            [&partition.to_be_bytes()[..], &place.index.to_be_bytes(), &watermark.to_be_bytes()].concat()
        })
        .collect();
    to_hex(&bytes)
}

pub(crate) fn parse_cursor(text: &str) -> Option<BTreeMap<u32, Place>> {
    let bytes = from_hex(text)?;
    let (records, rest) = bytes.as_chunks::<20>();
    let places = records.iter().map(|record| {
        let (partition, rest) = record.split_first_chunk::<4>()?;
        let (index, watermark) = rest.split_first_chunk::<8>()?;
        let watermark = u64::from_be_bytes(watermark.try_into().ok()?);
        let place = Place { index: u64::from_be_bytes(*index), watermark: Timestamp::from_millis(watermark) };
        Some((u32::from_be_bytes(*partition), place))
    });
    if rest.is_empty() { places.collect() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cursors_come_back() {
        let places: BTreeMap<u32, Place> = [
            (0, Place { index: 7, watermark: Timestamp::from_millis(1_000) }),
            (3, Place { index: u64::MAX, watermark: Timestamp::MIN }),
        ]
        .into();
        assert_eq!(parse_cursor(&cursor_text(&places)), Some(places));
        assert_eq!(parse_cursor(""), Some(BTreeMap::new()));
        assert_eq!(parse_cursor("00"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = parse_cursor(&text);
        }
    }
}
