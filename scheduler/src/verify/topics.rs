//! Topics, their numbers by name, and the marks of their lanes.

use super::{Check, name};
use crate::keys;
use crate::lane::{Class, LaneId, Position, TopicId};
use crate::record::{Lane, Topic, decode_topic_number};
use crate::store::StoreError;

impl Check<'_> {
    pub(super) fn topics(&mut self) -> Result<(), StoreError> {
        self.table(keys::TOPIC, |check, key, value| {
            let expected = check.topics.len() as u32;
            let Some(number) = name::topic_number(key).filter(|number| *number < crate::machine::TOPICS_MAX) else {
                check.tell(key, "is not the key of a topic", name::HALTS);
                return Ok(());
            };
            if number != expected {
                check.tell(key, format!("comes where topic number {expected} is expected"), name::HALTS);
            }
            // A gap was told; what comes behind it is still looked at under its own number.
            check.topics.resize_with((number as usize).max(check.topics.len()), || None);
            match Topic::decode(TopicId(number), value) {
                Ok(topic) => check.topics.push(Some(topic)),
                Err(error) => {
                    check.topics.push(None);
                    check.unreadable(key, error);
                }
            }
            Ok(())
        })?;
        self.summary.topics = self.topics.iter().flatten().count() as u64;
        self.names()
    }

    fn names(&mut self) -> Result<(), StoreError> {
        let mut names = 0;
        self.table(keys::TOPIC_NAME, |check, key, value| {
            match decode_topic_number(value) {
                Ok(number) => {
                    let topic = check.topics.get(number.0 as usize).and_then(Option::as_ref);
                    let same = topic.is_some_and(|topic| keys::topic_name(&topic.namespace, &topic.name) == key);
                    if same {
                        names += 1;
                    } else {
                        check.tell(
                            key,
                            format!("names topic number {}, which has another name", number.0),
                            name::DIVERGES,
                        );
                    }
                }
                Err(error) => check.unreadable(key, error),
            }
            Ok(())
        })?;
        if names == self.summary.topics {
            return Ok(());
        }
        for topic in self.topics.clone().into_iter().flatten() {
            let key = keys::topic_name(&topic.namespace, &topic.name);
            if self.store.get(&key)?.is_none() {
                self.tell(
                    &key,
                    format!("is missing, though topic number {} has this name", topic.id.0),
                    name::DIVERGES,
                );
            }
        }
        Ok(())
    }

    pub(super) fn lanes(&mut self) -> Result<(), StoreError> {
        self.table(keys::LANE, |check, key, value| {
            let Some(lane) = check.lane_in(key).filter(|_| key.len() == 5) else { return Ok(()) };
            match Lane::decode(value) {
                Ok(marks) if marks.encode() == value => {
                    if let Some(Some(topic)) = check.topics.get_mut(lane.topic().0 as usize) {
                        topic.lanes[lane.class() as usize] = marks;
                    }
                }
                Ok(_) => {
                    check.tell(key, format!("has {} bytes, which is no number of marks", value.len()), name::HALTS)
                }
                Err(error) => check.unreadable(key, error),
            }
            Ok(())
        })?;
        for topic in self.topics.clone().into_iter().flatten() {
            for class in Class::ALL {
                self.lane_marks(&topic, class);
            }
        }
        Ok(())
    }

    /// What holds for the marks of every lane, whether it has a row or not.
    fn lane_marks(&mut self, topic: &Topic, class: Class) {
        let lane = LaneId::new(topic.id, class);
        let key = keys::lane(lane);
        let Lane { floor, forgotten, released } = topic.lanes[class as usize];
        let watermark = Position::end_of(self.watermark());
        if floor > watermark {
            let wrong =
                format!("have the floor at {}, after the watermark of {}", name::position(floor), watermark.due);
            self.tell(&key, wrong, name::LOST);
        }
        if forgotten > floor {
            let (forgotten, floor) = (name::position(forgotten), name::position(floor));
            let wrong = format!("have everything before {forgotten} forgotten, beyond the floor at {floor}");
            self.tell(&key, wrong, name::LOST);
        }
        if class == Class::Dead && floor > Position::MIN {
            self.tell(&key, "have a floor, which dead letters never get", name::LOST);
        }
        if class >= Class::Retry && forgotten > Position::MIN {
            self.tell(&key, "have something forgotten, which only first attempts are", name::DIVERGES);
        }
        if released.is_some_and(|released| released > watermark) {
            let wrong = format!("have released more than was due at the watermark of {}", watermark.due);
            self.tell(&key, wrong, name::DIVERGES);
        }
        let settings = &topic.settings;
        let held = class != Class::Dead && (settings.paused || settings.rate_milli_per_second > 0);
        if held != released.is_some() {
            let wrong = match held {
                true => "have no released position, though the topic is paused or rate-limited",
                false => "have a released position, though nothing holds the lane back",
            };
            self.tell(&key, wrong, name::DIVERGES);
        }
    }
}
