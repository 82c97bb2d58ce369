//! `bosingak forecast`: how many triggers are due when.

use std::time::Duration;

use proto::v1::{ForecastRequest, ForecastResponse};
use unicode_width::UnicodeWidthStr;

use crate::context::Context;
use crate::failure::Failure;
use crate::{duration, moment};

/// Columns of the longest bar.
const BAR: usize = 40;

/// Of what, how fine, how far.
#[derive(clap::Args)]
pub struct Options {
    /// Only of this topic.
    #[arg(long)]
    topic: Option<String>,
    /// Width of a cell: 1s up to an hour ahead, 1m up to a day, 1h beyond.
    #[arg(long, value_name = "LENGTH", value_parser = duration::parse)]
    step: Option<Duration>,
    /// How far to look; 60 steps by default.
    #[arg(long, value_name = "LENGTH", value_parser = duration::parse)]
    span: Option<Duration>,
}

pub async fn run(context: &mut Context, options: Options) -> Result<u8, Failure> {
    let request = ForecastRequest {
        topic: options.topic.unwrap_or_default(),
        step: options.step.map(duration::proto),
        span: options.span.map(duration::proto),
    };
    let forecast = context.client.forecast(request).await?;
    if context.out.is_json() {
        context.out.message(&forecast)?;
        return Ok(0);
    }
    for line in chart(&forecast) {
        context.out.line(&line)?;
    }
    Ok(0)
}

/// A bar for each cell, the longest for the largest.
fn chart(forecast: &ForecastResponse) -> Vec<String> {
    let largest = forecast.cells.iter().map(|cell| cell.count).max().unwrap_or(0).max(1);
    let digits = largest.to_string().len();
    let width = forecast.cells.iter().map(|cell| moment::show(cell.start).width()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for cell in &forecast.cells {
        let topics: Vec<String> = cell.topics.iter().map(|t| format!("{} {}", t.topic, t.count)).collect();
        let topics = if cell.topics.len() > 1 { format!("  {}", topics.join(", ")) } else { String::new() };
        let start = moment::show(cell.start);
        lines.push(format!("{start:<width$}  {:>digits$}  {}{topics}", cell.count, bar(cell.count, largest)));
    }
    if forecast.cells.is_empty() {
        lines.push("nothing is due in this time".to_owned());
    }
    if forecast.beyond > 0 {
        lines.push(format!("later: {}", forecast.beyond));
    }
    lines.push(format!("as of {}", moment::show(forecast.as_of)));
    lines
}

/// In eighths of a column, and never nothing for something.
fn bar(count: u64, largest: u64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let scaled = u128::from(count) * BAR as u128 * 8 / u128::from(largest.max(1));
    let eighths = usize::try_from(scaled).unwrap_or(BAR * 8).clamp(usize::from(count > 0), BAR * 8);
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion() {
        assert_eq!(bar(100, 100), "█".repeat(BAR));
        assert_eq!(bar(50, 100), "█".repeat(BAR / 2));
        assert_eq!(bar(1, 1_000_000), "▏");
        assert_eq!(bar(0, 100), "");
        assert_eq!(bar(u64::MAX, u64::MAX).chars().count(), BAR);
    }

    #[test]
    fn an_empty_forecast_says_so() {
        assert_eq!(chart(&ForecastResponse::default())[0], "nothing is due in this time");
    }
}
