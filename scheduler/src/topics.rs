//! Topics and lane marks in memory: a pure function of their rows.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::keys;
use crate::lane::{LaneId, TopicId};
use crate::record::{Lane, Topic, corrupt};
use crate::store::{Read, StoreError};

/// The topics of a partition with the marks of their lanes.
#[derive(Clone, Debug, Default)]
pub struct Topics {
    list: Vec<Topic>,
    names: BTreeMap<String, BTreeMap<String, TopicId>>,
    undo: Vec<Undo>,
}

#[derive(Clone, Debug)]
enum Undo {
    Created,
    Changed(Box<Topic>),
}

impl Topics {
    /// Reads their rows.
    pub fn load(store: &dyn Read) -> Result<Self, StoreError> {
        let mut topics = Topics::default();
        let mut failed = None;
        store.scan(&[keys::TOPIC], &[keys::TOPIC + 1], &mut |key, value| {
            let number = topics.list.len() as u32;
            let topic = if key == keys::topic(TopicId(number)) {
                Topic::decode(TopicId(number), value)
            } else {
                Err(corrupt("topic"))
            };
            match topic {
                Ok(topic) => topics.insert(topic),
                Err(error) => failed = Some(error),
            }
            if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        store.scan(&[keys::LANE], &[keys::LANE + 1], &mut |key, value| {
            let place = keys::lane_of(key).and_then(|lane| Some((topics.list.get_mut(lane.topic().0 as usize)?, lane)));
            match (place, Lane::decode(value)) {
                (Some((topic, lane)), Ok(marks)) => topic.lanes[lane.class() as usize] = marks,
                (_, marks) => failed = Some(marks.err().unwrap_or_else(|| corrupt("lane"))),
            }
            if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        failed.map_or(Ok(topics), Err)
    }

    fn insert(&mut self, topic: Topic) {
        self.names.entry(topic.namespace.clone()).or_default().insert(topic.name.clone(), topic.id);
        self.list.push(topic);
    }

    /// How many there are; the next gets this number.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// In order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.list.iter()
    }

    /// The topic with this number.
    pub fn topic(&self, topic: TopicId) -> Option<&Topic> {
        self.list.get(topic.0 as usize)
    }

    /// The topic with this name.
    pub fn find(&self, namespace: &str, name: &str) -> Option<&Topic> {
        self.topic(*self.names.get(namespace)?.get(name)?)
    }

    /// The marks of a lane; as at the beginning when its topic does not exist.
    pub fn lane(&self, lane: LaneId) -> Lane {
        self.topic(lane.topic()).map_or_else(Lane::default, |topic| topic.lanes[lane.class() as usize])
    }

    pub(crate) fn create(&mut self, topic: Topic) {
        self.undo.push(Undo::Created);
        self.insert(topic);
    }

    /// Changes a topic, which must exist.
    pub(crate) fn change(&mut self, topic: TopicId, change: impl FnOnce(&mut Topic)) {
        let topic = &mut self.list[topic.0 as usize];
        self.undo.push(Undo::Changed(Box::new(topic.clone())));
        change(topic);
    }

    /// Forgets how to take changes back.
    pub(crate) fn settle(&mut self) {
        self.undo.clear();
    }

    pub(crate) fn savepoint(&self) -> usize {
        self.undo.len()
    }

    pub(crate) fn rollback(&mut self, savepoint: usize) {
        for undo in self.undo.drain(savepoint..).rev() {
            match undo {
                Undo::Created => {
                    let topic = self.list.pop();
                    if let Some(topic) = topic
                        && let Some(names) = self.names.get_mut(&topic.namespace)
                    {
                        names.remove(&topic.name);
                    }
                }
                Undo::Changed(topic) => {
                    let number = topic.id.0 as usize;
                    self.list[number] = *topic;
                }
            }
        }
    }
}
