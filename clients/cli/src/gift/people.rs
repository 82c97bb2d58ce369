//! People and moments of gifts on the command line.

use clap::Args;
use proto::gift::v1::{Party, SendTime, send_time};
use proto::v1::when;

use crate::failure::Failure;
use crate::when as due;

/// The recipient. Without phone, Kakao id and e-mail the sender gets the link to pass on.
#[derive(Args, Clone, Debug, Default)]
pub struct Recipient {
    /// Name of the recipient.
    #[arg(long, value_name = "NAME")]
    to_name: Option<String>,
    /// Phone number of the recipient: 010-1234-5678 or +821012345678.
    #[arg(long, value_name = "NUMBER")]
    to_phone: Option<String>,
    /// Kakao id of the recipient.
    #[arg(long, value_name = "ID")]
    to_kakao: Option<String>,
    /// E-mail address of the recipient.
    #[arg(long, value_name = "ADDRESS")]
    to_email: Option<String>,
    /// Time zone of the recipient; Asia/Seoul unless said.
    #[arg(long, value_name = "ZONE")]
    to_zone: Option<String>,
    /// Language of the recipient, ko or en; ko unless said.
    #[arg(long, value_name = "LANGUAGE")]
    to_language: Option<String>,
}

impl Recipient {
    /// As the protocol says it; `None` when nothing was said.
    pub fn party(self) -> Option<Party> {
        let said = [&self.to_name, &self.to_phone, &self.to_kakao, &self.to_email, &self.to_zone, &self.to_language];
        if said.iter().all(|one| one.is_none()) {
            return None;
        }
        Some(Party {
            name: self.to_name.unwrap_or_default(),
            phone: self.to_phone.unwrap_or_default(),
            kakao: self.to_kakao.unwrap_or_default(),
            email: self.to_email.unwrap_or_default(),
            time_zone: self.to_zone.unwrap_or_default(),
            language: self.to_language.unwrap_or_default(),
            ..Party::default()
        })
    }
}

/// Reads when a gift is to be sent: a moment, a local time, or a date alone; where the recipient is unless a zone is named.
pub fn send_time(text: &str) -> Result<SendTime, Failure> {
    let when = match due::moment_or_local("--at", text)? {
        when::When::At(at) => send_time::When::At(at),
        when::When::Local(local) => send_time::When::Local(local),
        when::When::After(_) => {
            return Err(Failure::usage("--at", "expected a moment or a local time", "--at 2027-02-14"));
        }
    };
    Ok(SendTime { when: Some(when) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(text: &str) -> (String, String) {
        match send_time(text).map(|time| time.when) {
            Ok(Some(send_time::When::Local(local))) => (local.date_time, local.time_zone),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_zone_may_be_left_out() {
        assert_eq!(local("2027-02-14"), ("2027-02-14T00:00".into(), String::new()));
        assert_eq!(local("2027-02-14 09:30"), ("2027-02-14T09:30".into(), String::new()));
        assert_eq!(local("2027-02-14 America/New_York"), ("2027-02-14T00:00".into(), "America/New_York".into()));
        let moment = send_time("2027-02-13T15:00:00Z").expect("a moment");
        assert!(matches!(moment.when, Some(send_time::When::At(_))));
        for text in ["", "tomorrow", "2027-02-30", "in an hour"] {
            let error = send_time(text).expect_err("no time");
            assert!(error.message().starts_with("--at"), "{}", error.message());
        }
    }

    #[test]
    fn nobody_is_nobody() {
        assert_eq!(Recipient::default().party(), None);
        let one = Recipient { to_phone: Some("010-1234-5678".into()), ..Recipient::default() };
        assert_eq!(one.party().map(|party| party.phone).as_deref(), Some("010-1234-5678"));
    }
}
