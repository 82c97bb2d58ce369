//! `bosingak payment`: what was paid for gifts, and where the money is.

use clap::Subcommand;
use proto::payment::v1::{Balance, GetPaymentRequest, Payment, ReconcileRequest, ReconcileResponse};

use crate::context::Context;
use crate::failure::{self, Failure};
use crate::table::{Table, clean};
use crate::{moment, money, when};

/// What can be asked about payments.
#[derive(Subcommand)]
pub enum Verb {
    /// Shows the payment of a gift.
    Get {
        /// Id of the gift.
        id: String,
    },
    /// Says where the money is. Exits with 5 when it does not add up.
    Reconcile {
        /// As of this moment, in RFC 3339; of the newest that every partition has reached unless said.
        #[arg(long, value_name = "TIME")]
        as_of: Option<String>,
        /// Also what each day changed.
        #[arg(long)]
        days: bool,
    },
}

pub async fn run(context: &mut Context, verb: Verb) -> Result<u8, Failure> {
    match verb {
        Verb::Get { id } => {
            let payment = context.client.get_payment(GetPaymentRequest { id, ..Default::default() }).await?;
            if context.out.is_json() {
                context.out.message(&payment)?;
                return Ok(0);
            }
            for (name, text) in detail(&payment) {
                if !text.is_empty() {
                    context.out.line(&format!("{name:<12} {text}"))?;
                }
            }
            Ok(0)
        }
        Verb::Reconcile { as_of, days } => reconcile(context, as_of, days).await,
    }
}

async fn reconcile(context: &mut Context, as_of: Option<String>, days: bool) -> Result<u8, Failure> {
    let as_of = as_of.map(|text| moment_of(&text)).transpose()?;
    let mut report = context.client.reconcile(ReconcileRequest { as_of, ..Default::default() }).await?;
    if !days {
        report.days.clear();
    }
    if context.out.is_json() {
        context.out.message(&report)?;
    } else {
        context.out.line(&format!("as of {}, in won", moment::show(report.as_of)))?;
        context.out.table(&table(&report))?;
        if report.difference_won != 0 {
            let words = format!("it does not add up: {} too much was captured", money::won(report.difference_won));
            let words = context.out.alarming(&words);
            context.out.line(&words)?;
        }
    }
    Ok(if report.difference_won == 0 { 0 } else { failure::PARTIAL })
}

fn moment_of(text: &str) -> Result<prost_types::Timestamp, Failure> {
    let wrong = || Failure::usage("--as-of", format!("{text:?} is no moment"), "--as-of 2027-02-13T15:00:00Z");
    when::moment("--as-of", text)?.ok_or_else(wrong)
}

fn table(report: &ReconcileResponse) -> Table {
    let mut table = Table::new(&["DAY", "CAPTURED", "HELD", "IN TRANSIT", "DELIVERED", "REFUNDED"]);
    let mut row = |label: String, balance: &Balance| {
        let [captured, held, in_transit, delivered, refunded] = [
            balance.captured_won,
            balance.held_won,
            balance.in_transit_won,
            balance.delivered_won,
            balance.refunded_won,
        ]
        .map(money::grouped);
        table.row([label, captured, held, in_transit, delivered, refunded]);
    };
    for day in &report.days {
        row(day.date.clone(), &day.change.unwrap_or_default());
    }
    row("in all".to_owned(), &report.total.unwrap_or_default());
    table
}

fn detail(payment: &Payment) -> Vec<(&'static str, String)> {
    let state = payment.state().as_str_name().trim_start_matches("PAYMENT_STATE_").to_owned();
    let refund = payment.refund().as_str_name().trim_start_matches("REFUND_STATE_");
    let refund = if refund == "UNSPECIFIED" { String::new() } else { refund.to_owned() };
    vec![
        ("ID", clean(&payment.id)),
        ("PROVIDER", clean(&payment.provider)),
        ("ORDER", clean(&payment.order_id)),
        ("AMOUNT", money::price(payment.amount_won)),
        ("STATE", state),
        ("CAPTURED", money::price(payment.captured_won)),
        ("CAPTURED AT", moment::both(payment.captured_at)),
        ("METHOD", clean(&payment.method)),
        ("REFUND", refund),
        ("REFUNDED AT", moment::both(payment.refunded_at)),
        ("ERROR", clean(&payment.error)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::payment::v1::DayBalance;

    #[test]
    fn days_come_before_the_total() {
        let change = Balance { captured_won: 4_500, delivered_won: -4_500, refunded_won: 9_000, ..Balance::default() };
        let days = vec![DayBalance { date: "2027-02-14".into(), change: Some(change) }];
        let report = ReconcileResponse { total: Some(change), days, ..ReconcileResponse::default() };
        let text = table(&report).to_string();
        let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        assert_eq!(lines[1], ["2027-02-14", "4,500", "0", "0", "-4,500", "9,000"]);
        assert_eq!(lines[2], ["in", "all", "4,500", "0", "0", "-4,500", "9,000"]);
    }

    #[test]
    fn a_moment_is_asked_for_by_its_flag() {
        assert!(moment_of("2027-02-13T15:00:00Z").is_ok());
        for text in ["", "yesterday", "2027-02-14"] {
            let error = moment_of(text).expect_err("no moment");
            assert!(error.message().starts_with("--as-of"), "{}", error.message());
        }
        let error = moment_of("2027-02-13T15:00:00.0001Z").expect_err("too fine");
        assert!(error.message().starts_with("--as-of"), "{}", error.message());
    }
}
