//! Settings of topics: limits, pause and resume.

use crate::command::SetTopic;
use crate::keys;
use crate::lane::{Class, LaneId};
use crate::record::Lane;
use crate::reply::{Refusal, Reply};

use super::{Step, Stop, check};

/// Lanes that pause and rate limits hold back.
const HELD: [Class; 4] = [Class::High, Class::Normal, Class::Low, Class::Retry];

impl Step<'_, '_> {
    /// Creates or replaces the settings of a topic.
    ///
    /// A pause or a rate limit freezes what has fired at this point of the log: everything after it, in each lane, stays
    /// scheduled until it is released. When both are gone, everything held that is due fires with this entry.
    pub(super) fn set_topic(&mut self, command: SetTopic) -> Result<Reply, Stop> {
        check::namespace(&command.namespace)?;
        check::topic_name(&command.topic)?;
        let settings = command.settings.ok_or(Refusal::Invalid { field: "settings", expected: "present" })?;
        check::settings(&settings)?;
        if command.version == 0 {
            return Err(Refusal::Invalid { field: "version", expected: "counted from 1" }.into());
        }
        let id = self.topic_named(&command.namespace, &command.topic)?;
        let found = self.topics.topic(id).map_or(0, |topic| topic.version);
        if command.version < found {
            return Err(Refusal::StaleTopicVersion { given: command.version, found }.into());
        }
        if command.version == found {
            return Ok(Reply::Done);
        }
        let held = settings.paused || settings.rate_milli_per_second > 0;
        self.topics.change(id, |topic| {
            topic.settings = settings;
            topic.version = command.version;
        });
        if let Some(topic) = self.topics.topic(id) {
            self.overlay.put(&keys::topic(id), topic.encode());
        }
        let here = self.here();
        for class in HELD {
            let lane = LaneId::new(id, class);
            let marks = self.topics.lane(lane);
            let released = match marks.released {
                None if held => Some(here),
                Some(released) if !held => {
                    self.fire_held(lane, released, here);
                    None
                }
                unchanged => unchanged,
            };
            self.set_lane(lane, Lane { released, ..marks });
        }
        Ok(Reply::Done)
    }
}
