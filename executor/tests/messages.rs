//! Every adapter of messages against the published contract of its provider, over real sockets: the same cases for each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use executor::providers::address::Address;
use executor::providers::message::{
    Channel, FindOutcome, Idempotency, Language, Link, Message, MessageProvider, SendOutcome, Template, tag,
};
use executor::providers::{EndpointConfig, fcm, slack, smtp, solapi};
use fakes::switches::{Failure, Mode, Reach, Switch};
use fakes::{Fakes, Options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Long enough never to be met by a provider that answers.
const PATIENT: Duration = Duration::from_secs(60);
/// Met by one that does not.
const HASTY: Duration = Duration::from_secs(1);

/// The fakes, and the files adapters read.
struct Outside {
    fakes: Fakes,
    files: tempfile::TempDir,
}

/// An adapter, and what its provider says to the cases of the table.
struct Case {
    adapter: Box<dyn MessageProvider>,
    /// Its provider's name in switches.
    fake: &'static str,
    to: Address,
    /// Where messages to it arrive.
    inbox: String,
    /// Never, in the provider's words, and the code it is told by.
    never: (Failure, &'static str),
    /// Not now, and the wait asked for.
    not_now: (Failure, Option<Duration>),
    /// Nobody there, where the provider has a word for it.
    gone: Option<Failure>,
    can_be_asked: bool,
}

impl Outside {
    async fn start() -> Outside {
        let fakes = Fakes::start(Options::default()).await.expect("the fakes start");
        Outside { fakes, files: tempfile::tempdir().expect("a directory") }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.files.path().join(name);
        std::fs::write(&path, content).expect("written");
        path
    }

    fn endpoint(&self, provider: &str, timeout: Duration) -> EndpointConfig {
        EndpointConfig { timeout, ..EndpointConfig::new(self.fakes.url_of(provider)) }
    }

    fn solapi(&self, timeout: Duration, secret: &str) -> solapi::Solapi {
        let secret = self.file("solapi", secret);
        let mut config = solapi::Config::new(fakes::solapi::API_KEY, secret, fakes::solapi::SENDER);
        config.endpoint = self.endpoint(fakes::solapi::NAME, timeout);
        solapi::Solapi::new(config).expect("an account")
    }

    fn fcm(&self, timeout: Duration) -> fcm::Fcm {
        let token_uri = format!("{}/token", self.fakes.url_of(fakes::fcm::NAME));
        let account = self.file("fcm.json", &fakes::fcm::service_account_file(&token_uri));
        let mut config = fcm::Config::new(account);
        config.endpoint = self.endpoint(fakes::fcm::NAME, timeout);
        fcm::Fcm::new(config).expect("a project")
    }

    fn slack(&self, timeout: Duration) -> slack::Slack {
        let address = format!("{}{}\n", self.fakes.url_of(fakes::slack::NAME), fakes::slack::PATH);
        let mut config = slack::Config::new(self.file("slack", &address));
        config.timeout = timeout;
        slack::Slack::new(config).expect("a channel")
    }

    fn smtp(&self, timeout: Duration, password: Option<&str>) -> smtp::Smtp {
        let address = self.fakes.addr_of(fakes::smtp::NAME);
        let mut config = smtp::Config::new(address.ip().to_string(), "보신각 <gifts@shop.example>");
        (config.port, config.tls, config.timeout) = (address.port(), smtp::Tls::None, timeout);
        if let Some(password) = password {
            config.user = Some(fakes::smtp::USER.to_owned());
            config.password_file = Some(self.file("smtp", password));
        }
        smtp::Smtp::new(config).expect("a relay")
    }

    /// The table.
    fn cases(&self, timeout: Duration) -> Vec<Case> {
        let phone = || Address::phone("010-1234-5678").expect("a number");
        let solapi = self.solapi(timeout, fakes::solapi::API_SECRET);
        let seven = Some(Duration::from_secs(7));
        let of_solapi = |adapter| Case {
            adapter,
            fake: fakes::solapi::NAME,
            to: phone(),
            inbox: "01012345678".into(),
            never: (Failure::new(400, "ValidationError"), "ValidationError"),
            not_now: (Failure::new(429, "TooManyRequests").retry_after(7), seven),
            gone: None,
            can_be_asked: true,
        };
        vec![
            of_solapi(Box::new(solapi.kakao(fakes::solapi::PF_ID).expect("a channel"))),
            of_solapi(Box::new(solapi.sms())),
            Case {
                adapter: Box::new(self.fcm(timeout)),
                fake: fakes::fcm::NAME,
                to: Address::device("dQw4:APA91b-_x").expect("a token"),
                inbox: "dQw4:APA91b-_x".into(),
                never: (Failure::new(403, "SENDER_ID_MISMATCH"), "SENDER_ID_MISMATCH"),
                not_now: (Failure::new(429, "QUOTA_EXCEEDED").retry_after(7), seven),
                gone: Some(Failure::new(404, "UNREGISTERED")),
                can_be_asked: false,
            },
            Case {
                adapter: Box::new(self.slack(timeout)),
                fake: fakes::slack::NAME,
                to: Address::operators(),
                inbox: fakes::inbox::OPERATORS.into(),
                never: (Failure::new(404, "no_service"), "no_service"),
                not_now: (Failure::new(429, "rate_limited").retry_after(7), seven),
                gone: None,
                can_be_asked: false,
            },
            Case {
                adapter: Box::new(self.smtp(timeout, Some(fakes::smtp::PASSWORD))),
                fake: fakes::smtp::NAME,
                to: Address::email("kim@example.com").expect("an address"),
                inbox: "kim@example.com".into(),
                never: (Failure::new(550, "5.7.1"), "550"),
                // SMTP has no word for how long.
                not_now: (Failure::new(451, "4.3.0").retry_after(7), None),
                gone: Some(Failure::new(550, "5.1.1")),
                can_be_asked: false,
            },
        ]
    }

    async fn switch(&self, case: &Case, mode: Mode, reach: Reach) {
        let switch = match mode {
            Mode::Refuse => Switch::new(case.fake, mode),
            // Not the call for a token before it.
            _ => Switch::new(case.fake, mode).call("send").reach(reach),
        };
        self.fakes.switches().set(switch).await.expect("a switch");
    }

    /// What arrived for a message, by its tag where the channel carries one.
    fn arrived(&self, case: &Case, message: &Message) -> usize {
        let tag = tag(&message.idempotency_key);
        let of_message = |arrived: &&fakes::inbox::Message| arrived.tag.as_ref().is_none_or(|arrived| *arrived == tag);
        let all = self.fakes.inbox().at(&case.inbox);
        all.iter().filter(|arrived| arrived.channel == case.adapter.channel().as_str()).filter(of_message).count()
    }

    /// Waits until this many arrived.
    async fn until_arrived(&self, case: &Case, message: &Message, count: usize) {
        while self.arrived(case, message) < count {
            tokio::task::yield_now().await;
        }
    }
}

impl Case {
    fn message(&self, key: &str) -> Message {
        Message {
            to: self.to.clone(),
            title: "선물이 도착했어요 <1>".into(),
            body: "보신각님이 선물을 보냈어요 & 기다려요".into(),
            link: Some(Link { label: "선물 받기".into(), url: "https://gift.example/g/abc?x=1&y=2".into() }),
            template: Some(Template { id: "GIFT01".into(), variables: [("name".into(), "보신각".into())].into() }),
            idempotency_key: format!("shop/{key}/{}", self.adapter.name()),
            language: Language::Korean,
        }
    }

    async fn find(&self, message: &Message, since: SystemTime) -> FindOutcome {
        self.adapter.query(&message.idempotency_key, &message.to, since).await
    }

    /// Checks what asking after a message tells, whose fate is known here: it was accepted, or not.
    async fn check_query(&self, message: &Message, since: SystemTime, accepted: bool) {
        let found = self.find(message, since).await;
        match (&found, self.can_be_asked, accepted) {
            (FindOutcome::Found { provider_id, delivered: Some(true) }, true, true) => assert!(!provider_id.is_empty()),
            (FindOutcome::NotFound, true, false) | (FindOutcome::CannotTell { .. }, false, _) => {}
            _ => panic!("{}: {found:?}, and it was accepted: {accepted}", self.adapter.name()),
        }
    }
}

async fn post(outside: &Outside, path: &str, body: &str) {
    let mut stream = TcpStream::connect(outside.fakes.addr()).await.expect("a connection");
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: fakes\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
}

#[tokio::test]
async fn what_is_accepted_arrives_once_and_is_found() {
    let outside = Outside::start().await;
    for case in outside.cases(PATIENT) {
        let (name, since) = (case.adapter.name(), SystemTime::now());
        assert_eq!(case.adapter.idempotency(), Idempotency::None, "{name}");
        let message = case.message("accepted");
        case.check_query(&message, since, false).await;
        let outcome = case.adapter.send(&message).await;
        assert!(
            matches!(&outcome, SendOutcome::Accepted { provider_id } if !provider_id.is_empty()),
            "{name}: {outcome:?}"
        );
        assert_eq!(outside.arrived(&case, &message), 1, "{name}");
        case.check_query(&message, since, true).await;
        // Of another key nothing is found.
        case.check_query(&case.message("other"), since, false).await;
    }
}

#[tokio::test]
async fn everything_a_person_has_to_see_arrives() {
    let outside = Outside::start().await;
    let template =
        r##"{"templateId":"GIFT01","title":"선물 도착","content":"#{name}님이 선물을 보냈어요 & 기다려요"}"##;
    post(&outside, "/fake/solapi/templates", template).await;
    for case in outside.cases(PATIENT) {
        let name = case.adapter.name();
        let message = case.message("content");
        let outcome = case.adapter.send(&message).await;
        assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{name}: {outcome:?}");
        let all = outside.fakes.inbox().at(&case.inbox);
        let arrived = all.iter().find(|arrived| arrived.channel == case.adapter.channel().as_str()).expect(name);
        let text = format!("{}\n{}", arrived.title.as_deref().unwrap_or_default(), arrived.body);
        assert!(text.contains(&message.body), "{name}: {text}");
        if case.adapter.channel() != Channel::Kakao && case.adapter.channel() != Channel::Sms {
            assert!(text.contains(&message.title), "{name}: {text}");
        }
        let url = &message.link.as_ref().expect("a link").url;
        let followed = arrived.body.contains(url) || arrived.links.iter().any(|link| link.url == *url);
        assert!(followed, "{name}: {arrived:?}");
    }
}

#[tokio::test]
async fn what_is_refused_for_good_says_why() {
    let outside = Outside::start().await;
    for case in outside.cases(PATIENT) {
        let (failure, code) = case.never.clone();
        let failure = Failure { message: "no: 010-1234-5678 kim@example.com dQw4:APA91b-_x".into(), ..failure };
        outside.switch(&case, Mode::Fail(failure), Reach::Next(1)).await;
        let message = case.message("never");
        match case.adapter.send(&message).await {
            SendOutcome::Rejected { code: told, message: text } => {
                assert_eq!(told, code, "{}", case.adapter.name());
                // Its own address, that is; it does not know of others.
                let hyphens = case.to.as_phone().is_some() && text.contains("010-1234-5678");
                assert!(!hyphens && !text.contains(&case.inbox), "{text}");
            }
            other => panic!("{}: {other:?}", case.adapter.name()),
        }
        assert_eq!(outside.arrived(&case, &message), 0);
        // The next one is not affected.
        assert!(matches!(case.adapter.send(&message).await, SendOutcome::Accepted { .. }), "{}", case.adapter.name());
    }
}

#[tokio::test]
async fn what_is_refused_for_now_says_for_how_long() {
    let outside = Outside::start().await;
    for case in outside.cases(PATIENT) {
        let (failure, wait) = case.not_now.clone();
        outside.switch(&case, Mode::Fail(failure), Reach::Next(1)).await;
        let message = case.message("later");
        let outcome = case.adapter.send(&message).await;
        assert!(
            matches!(&outcome, SendOutcome::Later { after, .. } if *after == wait),
            "{}: {outcome:?}",
            case.adapter.name()
        );
        assert!(matches!(case.adapter.send(&message).await, SendOutcome::Accepted { .. }), "{}", case.adapter.name());
        assert_eq!(outside.arrived(&case, &message), 1, "{}", case.adapter.name());
    }
}

#[tokio::test]
async fn addresses_that_are_gone_are_told_as_such() {
    let outside = Outside::start().await;
    for case in outside.cases(PATIENT) {
        let Some(failure) = case.gone.clone() else { continue };
        outside.switch(&case, Mode::Fail(failure), Reach::Next(1)).await;
        let outcome = case.adapter.send(&case.message("gone")).await;
        assert_eq!(outcome, SendOutcome::Unregistered, "{}", case.adapter.name());
    }
    // The same, by the provider's own book.
    post(&outside, "/fake/fcm/unregister", r#"{"token":"dQw4:APA91b-_x"}"#).await;
    post(&outside, "/fake/smtp/unregister", r#"{"address":"Kim@Example.com"}"#).await;
    for case in outside.cases(PATIENT).iter().filter(|case| case.gone.is_some()) {
        let outcome = case.adapter.send(&case.message("gone")).await;
        assert_eq!(outcome, SendOutcome::Unregistered, "{}", case.adapter.name());
    }
}

#[tokio::test]
async fn too_slow_is_unknown_and_asking_tells() {
    let outside = Outside::start().await;
    for case in outside.cases(HASTY) {
        let since = SystemTime::now();
        let accepted = case.message("slow");
        outside.switch(&case, Mode::Slow { ms: 3_600_000 }, Reach::Next(1)).await;
        let outcome = case.adapter.send(&accepted).await;
        assert!(matches!(outcome, SendOutcome::Unknown { .. }), "{}: {outcome:?}", case.adapter.name());
        outside.until_arrived(&case, &accepted, 1).await;
        case.check_patiently(&outside, &accepted, since, true).await;

        let lost = case.message("lost");
        outside.switch(&case, Mode::Timeout, Reach::Next(1)).await;
        let outcome = case.adapter.send(&lost).await;
        assert!(matches!(outcome, SendOutcome::Unknown { .. }), "{}: {outcome:?}", case.adapter.name());
        case.check_patiently(&outside, &lost, since, false).await;
    }
}

impl Case {
    /// Asks by an adapter that has time.
    async fn check_patiently(&self, outside: &Outside, message: &Message, since: SystemTime, accepted: bool) {
        let patient = outside.cases(PATIENT).into_iter().find(|case| case.adapter.name() == self.adapter.name());
        patient.expect("the same table").check_query(message, since, accepted).await;
    }
}

#[tokio::test]
async fn reset_after_it_was_accepted_is_unknown_and_asking_tells() {
    let outside = Outside::start().await;
    for case in outside.cases(PATIENT) {
        let (message, since) = (case.message("reset"), SystemTime::now());
        outside.switch(&case, Mode::ResetAfterAccept, Reach::Next(1)).await;
        let outcome = case.adapter.send(&message).await;
        assert!(matches!(outcome, SendOutcome::Unknown { .. }), "{}: {outcome:?}", case.adapter.name());
        assert_eq!(outside.arrived(&case, &message), 1, "{}", case.adapter.name());
        case.check_query(&message, since, true).await;
    }
}

#[tokio::test]
async fn nobody_there_is_certainly_not_sent() {
    let outside = Outside::start().await;
    for case in outside.cases(PATIENT) {
        outside.switch(&case, Mode::Refuse, Reach::All).await;
        let message = case.message("refused");
        let outcome = case.adapter.send(&message).await;
        assert!(matches!(&outcome, SendOutcome::Later { .. }), "{}: {outcome:?}", case.adapter.name());
        let found = case.find(&message, SystemTime::now()).await;
        assert!(matches!(found, FindOutcome::CannotTell { .. }), "{}: {found:?}", case.adapter.name());
        outside.fakes.switches().reset(case.fake).await.expect("reset");
        assert!(matches!(case.adapter.send(&message).await, SendOutcome::Accepted { .. }), "{}", case.adapter.name());
        assert_eq!(outside.arrived(&case, &message), 1, "{}", case.adapter.name());
    }
}

#[tokio::test]
async fn many_at_a_time_all_arrive() {
    let outside = Outside::start().await;
    for case in outside.cases(PATIENT) {
        let before = outside.fakes.inbox().at(&case.inbox).len();
        let messages: Vec<_> = (0..60).map(|number| case.message(&format!("many-{number}"))).collect();
        let outcomes = futures::future::join_all(messages.iter().map(|message| case.adapter.send(message))).await;
        for outcome in outcomes {
            assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{}: {outcome:?}", case.adapter.name());
        }
        assert_eq!(outside.fakes.inbox().at(&case.inbox).len() - before, 60, "{}", case.adapter.name());
    }
}

#[tokio::test]
async fn addresses_of_another_kind_are_refused_without_a_call() {
    let outside = Outside::start().await;
    let cases = outside.cases(PATIENT);
    for case in &cases {
        for other in cases.iter().filter(|other| other.to != case.to) {
            let message = Message { to: other.to.clone(), ..case.message("kind") };
            let outcome = case.adapter.send(&message).await;
            let refused = matches!(&outcome, SendOutcome::Rejected { code, .. } if code == "invalid_message");
            assert!(refused, "{}: {outcome:?}", case.adapter.name());
        }
    }
    let calls: u64 = outside.fakes.switches().list().iter().map(|status| status.seen).sum();
    assert_eq!(calls, 0);
}

#[tokio::test]
async fn a_kakao_message_that_reached_nobody_is_found_so() {
    let outside = Outside::start().await;
    // 3104: no user of KakaoTalk.
    let result = r#"{"to":"010-1234-5678","type":"ATA","statusCode":"3104"}"#;
    post(&outside, "/fake/solapi/results", result).await;
    let cases = outside.cases(PATIENT);
    let since = SystemTime::now();
    for (case, expected) in cases.iter().zip([Some(false), Some(true)]) {
        let message = case.message("handset");
        assert!(matches!(case.adapter.send(&message).await, SendOutcome::Accepted { .. }));
        let found = case.find(&message, since).await;
        assert!(matches!(found, FindOutcome::Found { delivered, .. } if delivered == expected), "{found:?}");
    }
}

#[tokio::test]
async fn a_message_is_found_behind_many_others() {
    let outside = Outside::start().await;
    let sms = &outside.cases(PATIENT)[1];
    let since = SystemTime::now();
    let wanted = sms.message("wanted");
    assert!(matches!(sms.adapter.send(&wanted).await, SendOutcome::Accepted { .. }));
    let others: Vec<_> = (0..150).map(|number| sms.message(&format!("other-{number}"))).collect();
    futures::future::join_all(others.iter().map(|message| sms.adapter.send(message))).await;
    sms.check_query(&wanted, since, true).await;
    // What was created long before is not looked at.
    let found = sms.find(&wanted, since + Duration::from_secs(3_600)).await;
    assert_eq!(found, FindOutcome::NotFound);
}

#[tokio::test]
async fn reports_come_more_than_once_and_say_the_same() {
    let outside = Outside::start().await;
    let (sender, mut bodies) = tokio::sync::mpsc::channel::<Vec<u8>>(16);
    let take = move |body: bytes::Bytes| async move { sender.send(body.to_vec()).await.unwrap_or_default() };
    let app = axum::Router::new().fallback(take);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/reports", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap_or(()) });
    post(&outside, "/fake/solapi/reports", &format!(r#"{{"url":"{url}","copies":2}}"#)).await;
    let sms = &outside.cases(PATIENT)[1];
    let message = sms.message("reported");
    let SendOutcome::Accepted { provider_id } = sms.adapter.send(&message).await else { panic!("accepted") };
    let mut reports = BTreeMap::new();
    for copy in 0..2 {
        let body = bodies.recv().await.expect("a report");
        for report in solapi::parse_reports(&body).expect("readable") {
            let facts = (report.tag, report.delivered);
            let before = reports.insert(report.provider_id, facts.clone());
            assert!(copy == 0 || before == Some(facts));
        }
    }
    assert_eq!(reports, BTreeMap::from([(provider_id, (Some(tag(&message.idempotency_key)), Some(true)))]));
    server.abort();
}

#[tokio::test]
async fn wrong_credentials_are_for_people_to_mend() {
    let outside = Outside::start().await;
    let cases = outside.cases(PATIENT);
    let rejected = |outcome: SendOutcome| match outcome {
        SendOutcome::Rejected { code, message } => {
            assert!(!message.contains("wrong-secret"), "{message}");
            code
        }
        other => panic!("{other:?}"),
    };
    let sms = outside.solapi(PATIENT, "wrong-secret").sms();
    assert_eq!(rejected(sms.send(&cases[1].message("key")).await), "SignatureDoesNotMatch");
    let smtp = outside.smtp(PATIENT, Some("wrong-secret"));
    assert_eq!(rejected(smtp.send(&cases[4].message("key")).await), "535");
    let switch = Switch::new(fakes::fcm::NAME, Mode::Fail(Failure::new(400, "invalid_grant"))).call("token");
    outside.fakes.switches().set(switch).await.expect("a switch");
    assert_eq!(rejected(cases[2].adapter.send(&cases[2].message("key")).await), "HTTP 400");
}

#[tokio::test]
async fn a_token_is_fetched_once_and_again_when_it_is_refused() {
    let outside = Outside::start().await;
    let fcm = &outside.cases(PATIENT)[2];
    let count_tokens = || async {
        let switch = Switch::new(fakes::fcm::NAME, Mode::Ok).call("token");
        outside.fakes.switches().set(switch).await.expect("a switch");
    };
    let tokens = || {
        let all = outside.fakes.switches().list();
        all.into_iter().find(|status| status.switch.provider == fakes::fcm::NAME).expect("there").seen
    };
    count_tokens().await;
    let messages: Vec<_> = (0..20).map(|number| fcm.message(&format!("token-{number}"))).collect();
    for outcome in futures::future::join_all(messages.iter().map(|message| fcm.adapter.send(message))).await {
        assert!(matches!(outcome, SendOutcome::Accepted { .. }), "{outcome:?}");
    }
    assert_eq!(tokens(), 1, "twenty messages, one token");
    post(&outside, "/fake/fcm/revoke", "").await;
    let outcome = fcm.adapter.send(&messages[0]).await;
    assert!(matches!(outcome, SendOutcome::Later { .. }), "refused with its token: {outcome:?}");
    assert!(matches!(fcm.adapter.send(&messages[0]).await, SendOutcome::Accepted { .. }));
    assert_eq!(tokens(), 2);
}
