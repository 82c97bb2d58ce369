use super::*;

struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let files = Files { directory };
        files.write("toss.key", "test_sk_1");
        files.write("solapi.secret", "SECRET");
        files.write("slack.url", "http://127.0.0.1:9/services/T/B/x");
        files.write("smtp.password", "hush");
        files
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    fn load(&self, text: &str) -> Result<(Services, Vec<String>), Error> {
        let path = self.write("gift.toml", text);
        let client = Client::builder().endpoints(["http://127.0.0.1:1"]).connect_lazy().expect("a client");
        Config::read(&path)?.services(client)
    }

    fn wrong(&self, text: &str) -> String {
        match self.load(text) {
            Ok(_) => panic!("it was taken: {text}"),
            Err(error) => error.to_string(),
        }
    }
}

const EVERYTHING: &str = r#"
operator_language = "en"
settle_ms = 0
[toss]
base_url = "http://127.0.0.1:9"
timeout_ms = 3000
rate_per_s = 50
secret_key_file = "toss.key"
[solapi]
base_url = "http://127.0.0.1:9"
api_key = "KEY"
api_secret_file = "solapi.secret"
sender = "02-123-4567"
kakao_pf_id = "KA01PF"
[smtp]
host = "127.0.0.1"
port = 2525
tls = "none"
user = "gifts"
password_file = "smtp.password"
sender = "gifts@example.com"
connections_max = 2
[slack]
webhook_file = "slack.url"
[templates.gift.ko]
id = "KA01TP"
variables = { "보낸사람" = "sender" }
[templates.expires_soon.en]
id = "KA02TP"
"#;

#[tokio::test]
async fn everything_can_be_set_and_secrets_lie_beside_the_file() {
    let files = Files::new();
    let (services, topics) = files.load(EVERYTHING).expect("settings are right");
    assert_eq!(topics.len(), PAYMENT_TOPICS.len() + MESSAGE_TOPICS.len());
    assert_eq!((services.operators, services.settle), (Language::English, Duration::ZERO));
    use proto::gift::v1::Channel;
    for (channel, there) in [
        (Channel::Kakao, true),
        (Channel::Sms, true),
        (Channel::Email, true),
        (Channel::Push, false),
        (Channel::Operator, true),
    ] {
        assert_eq!(services.messengers.on(channel).is_some(), there, "{channel:?}");
    }
    assert!(services.payments.named("toss").await.is_ok());
    let Err(crate::Outcome::Fail { error }) = services.payments.named("boss").await else { panic!("nobody") };
    assert_eq!(error, r#"provider: one of ["toss"] expected, not "boss""#);
}

#[tokio::test]
async fn topics_are_those_of_what_is_configured() {
    let files = Files::new();
    let toss = "[toss]\nsecret_key_file = \"toss.key\"\nbase_url = \"http://127.0.0.1:9\"\n";
    assert_eq!(files.load(toss).expect("right").1, PAYMENT_TOPICS);
    let some = format!("topics = [\"payment.query\"]\n{toss}");
    assert_eq!(files.load(&some).expect("right").1, ["payment.query"]);
    for (topics, said) in [
        ("[]", "topics: at least one expected"),
        (r#"["gift.send"]"#, "topics: gift.send needs a message provider: [solapi]"),
        (r#"["gift.sent"]"#, "topics: some of payment.confirm, "),
    ] {
        let error = files.wrong(&format!("topics = {topics}\n{toss}"));
        assert!(error.starts_with(said), "{error}");
    }
    assert!(files.wrong("").contains("at least one of [toss]"));
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let files = Files::new();
    for (text, said) in [
        ("[toss]\nsecret_key_file = \"none.key\"\nbase_url=\"http://127.0.0.1:9\"", "toss.secret_key_file: "),
        ("[toss]\nsecret_key_file = \"toss.key\"\nbase_url = \"http://example.com\"", "toss.base_url: "),
        ("[toss]\nsecret_key_file = \"toss.key\"\ntimeout_ms = 5", "toss.timeout_ms: "),
        (
            "[toss]\nsecret_key_file = \"toss.key\"\nbase_url = \"http://127.0.0.1:9\"\nrate_per_s = 0",
            "toss.rate_per_s: 0; 1..=100000 expected",
        ),
        ("settle_ms = 20001", "settle_ms: 20001; at most 20000 expected"),
        ("operator_language = \"fr\"", "operator_language: ko or en expected, not \"fr\""),
        ("[smtp]\nhost = \"mail.example.com\"\ntls = \"none\"\nsender = \"a@example.com\"", "smtp.tls: "),
        ("[templates.gfit.ko]\nid = \"x\"", "templates.gfit: one of gift, reserved, "),
        ("[templates.gift.fr]\nid = \"x\"", "templates.gift.fr: ko or en expected"),
        (
            "[templates.gift.ko]\nid = \"x\"\nvariables = { a = \"code\" }",
            "templates.gift.ko: variables.a: one of sender, ",
        ),
    ] {
        let error = files.wrong(text);
        assert!(error.starts_with(said), "{said}: {error}");
    }
    for (text, said) in [
        ("[tos]\nsecret_key_file = \"x\"", "tos"),
        ("[toss]\nsecret_key_fiel = \"x\"", "secret_key_fiel"),
        ("[toss]\n", "secret_key_file"),
        ("[smtp]\nhost = \"h\"\nsender = \"s\"\ntls = \"ssl\"", "ssl"),
        ("topics = 5", "topics"),
        ("not toml", "not toml"),
    ] {
        let error = files.wrong(text);
        assert!(error.starts_with("settings: ") && error.contains(said), "{said}: {error}");
    }
    let missing = Config::read(Path::new("/no/such/gift.toml")).expect_err("no file");
    assert!(missing.to_string().starts_with("/no/such/gift.toml: "), "{missing}");
}
