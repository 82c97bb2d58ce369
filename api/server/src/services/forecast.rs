//! How many triggers are due when: what the wheels know. Answered by any node from its own replicas.

use proto::v1;
use scheduler::forecast::{Forecast, Grid};
use scheduler::read;
use scheduler::time::{Delay, Timestamp};

use super::Services;
use crate::canary;
use crate::convert::{self, Range};
use crate::error::Error;
use crate::feed::NextEntry;
use crate::validate::Violations;

const MINUTE_MS: u64 = 60_000;

impl Services {
    pub(crate) async fn forecast_all(&self, message: v1::ForecastRequest) -> Result<v1::ForecastResponse, Error> {
        let mut v = Violations::new();
        if !message.topic.is_empty() {
            v.topic("topic", &message.topic);
        }
        let any = Range(1, u64::MAX);
        let step = message.step.map(|step| convert::delay_of(&mut v, "step", &step, any));
        let step = step.unwrap_or(Delay::from_millis(MINUTE_MS));
        let span = message.span.map(|span| convert::delay_of(&mut v, "span", &span, any));
        let span = span.unwrap_or(Delay::from_millis(step.as_millis().saturating_mul(60)));
        // From the present, or from the oldest trigger whose time has come and that has not fired yet. The watermark
        // of a partition in which nothing happens stays where it was, so it says little.
        let partitions = self.node.partitions().iter();
        let waiting = partitions.filter_map(|partition| match partition.feed().next_entry() {
            NextEntry::At(at) => Some(at),
            NextEntry::Owed | NextEntry::Never => None,
        });
        let from = waiting.fold(self.node.clock().wall(), Timestamp::min);
        let grid = match Grid::new(from, step, span) {
            Ok(grid) => Some(grid),
            Err(error) => {
                let field = match error {
                    scheduler::forecast::Error::Step { .. } => "step",
                    scheduler::forecast::Error::Span { .. } => "span",
                };
                v.push(field, error.to_string());
                None
            }
        };
        let grid = v.finish(grid)?.ok_or_else(|| Error::Internal("no grid and no reason".into()))?;

        let mut forecast = Forecast::new(grid);
        for partition in self.node.partitions() {
            let topics = partition.feed().topics();
            let wanted: Vec<_> = match message.topic.is_empty() {
                true => vec![None],
                // The same name in several namespaces is several topics.
                false => {
                    topics.iter().filter(|topic| topic.name == message.topic).map(|topic| Some(topic.id)).collect()
                }
            };
            for topic in wanted {
                let (mut part, topics, snapshot) = partition.forecast(grid, topic).await?;
                for gap in part.gaps().to_vec() {
                    let rows = crate::machine::SnapshotRows(&snapshot);
                    let counts = read::count_dues(&rows, gap.from, gap.to)
                        .map_err(|error| Error::Internal(error.to_string()))?;
                    part.recounted(gap, counts.into_iter().map(|(due, lane, count)| (lane, due, count)));
                }
                let own = topics.iter().find(|topic| canary::is_own(topic));
                if let Some(own) = own.filter(|_| topic.is_none()) {
                    part.leave_out(own.id);
                }
                forecast.add(&part, |id| {
                    topics.iter().find(|topic| topic.id == id).map_or_else(String::new, |topic| topic.name.clone())
                });
            }
        }
        Ok(v1::ForecastResponse {
            cells: forecast
                .cells()
                .map(|cell| v1::ForecastCell {
                    start: Some(convert::moment(cell.start)),
                    width: Some(convert::delay(cell.width)),
                    count: cell.count,
                    topics: cell
                        .topics
                        .into_iter()
                        .map(|(topic, count)| v1::ForecastTopicCount { topic, count })
                        .collect(),
                })
                .collect(),
            beyond: forecast.beyond(),
            as_of: forecast.as_of().map(convert::moment),
        })
    }
}
