//! The executors of gifts: `bosingak-executor --gift`, some for money and some for messages, so that neither waits for the other.

use std::path::Path;

use harness::binary;
use harness::proc_stat::{self, Usage};
use harness::process::{Process, Program};

use super::oracle::{GIFT, RESERVED, SENT};
use super::providers::Providers;

/// The processes; they end with this value.
#[derive(Debug)]
pub struct Executors {
    processes: Vec<Process>,
}

impl Executors {
    /// Starts one process for money and `count` for messages, each with `handlers` at once.
    ///
    /// # Errors
    ///
    /// When there is no binary, or one cannot be started.
    pub fn start(
        count: usize,
        handlers: usize,
        endpoints: &[String],
        place: &Path,
        providers: &Providers,
    ) -> anyhow::Result<Self> {
        std::fs::write(place.join("toss.key"), fakes::toss::SECRET_KEY)?;
        std::fs::write(place.join("solapi.secret"), fakes::solapi::API_SECRET)?;
        std::fs::write(place.join("money.toml"), money(providers.address(fakes::toss::NAME)?))?;
        std::fs::write(place.join("messages.toml"), messages(providers.address(fakes::solapi::NAME)?))?;
        let names = std::iter::once(("payments".to_owned(), "money.toml"))
            .chain((1..=count).map(|number| (format!("messages-{number}"), "messages.toml")));
        let processes = names.map(|(name, file)| {
            let arguments =
                ["--address", &endpoints.join(","), "--concurrency", &handlers.to_string(), "--name", &name, "--gift"];
            Process::start(Program {
                binary: binary::find("bosingak-executor")?,
                arguments: arguments.into_iter().map(Into::into).chain([place.join(file).into()]).collect(),
                environment: vec![("BOSINGAK_LOG".into(), "warn".into())],
                log: place.join(format!("{name}.log")),
                name,
                piped: false,
            })
        });
        Ok(Self { processes: processes.collect::<Result<_, _>>()? })
    }

    /// What all of them have used.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let one = |process: &Process| proc_stat::usage(process.pid());
        self.processes.iter().map(one).fold(Usage::default(), |sum, one| Usage {
            rss_bytes_max: sum.rss_bytes_max.max(one.rss_bytes_max),
            rss_bytes: sum.rss_bytes.max(one.rss_bytes),
            cpu_s: sum.cpu_s + one.cpu_s,
        })
    }

    /// Refuses when a process has exited.
    ///
    /// # Errors
    ///
    /// How, and the end of its log.
    pub fn none_exited(&mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            if let Some(status) = process.exited()? {
                anyhow::bail!("an executor exited, {status}: {}", process.log_tail(5));
            }
        }
        Ok(())
    }

    /// What the executors had to say, warnings and worse.
    #[must_use]
    pub fn warnings(&self) -> String {
        let tails: Vec<String> = self.processes.iter().map(|process| process.log_tail(2)).collect();
        tails.iter().filter(|tail| !tail.is_empty()).map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

fn money(toss: &str) -> String {
    format!("[toss]\nbase_url = \"http://{toss}\"\nsecret_key_file = \"toss.key\"\n")
}

fn messages(solapi: &str) -> String {
    let mut text = format!(
        "[solapi]\nbase_url = \"http://{solapi}\"\napi_key = \"{}\"\napi_secret_file = \"solapi.secret\"\n\
         sender = \"{}\"\nkakao_pf_id = \"{}\"\n",
        fakes::solapi::API_KEY,
        fakes::solapi::SENDER,
        fakes::solapi::PF_ID
    );
    // The provider shows a message under the name of its template: by that we know it.
    for subject in [GIFT, RESERVED, SENT, "received"] {
        text.push_str(&format!(
            "[templates.{subject}.ko]\nid = \"{subject}\"\n\
             variables = {{ \"보낸사람\" = \"sender\", \"받는사람\" = \"recipient\", \"상품\" = \"product\" }}\n"
        ));
    }
    text
}
