//! Stand-ins for the providers outside: each serves the published contract of one provider on loopback, keeps its state in
//! memory, and has a switch to be slow, wrong or gone. For tests in one process, and as the program `bosingak-fakes` for demos.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use fakes::switches::{Mode, Reach, Switch};
//!
//! let fakes = fakes::Fakes::start(fakes::Options::default()).await?;
//! let key = fakes.toss().pay("order-0001", 10_000)?;
//! fakes.switches().set(Switch::new(fakes::toss::NAME, Mode::Timeout).reach(Reach::Next(1))).await?;
//! println!("confirm {key} at {}", fakes.url_of(fakes::toss::NAME));
//! fakes.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Everything is at [`Fakes::addr`]: what the providers publish, what tests and people do to them (`/fake/…`), and the switches:
//!
//! | route | |
//! |---|---|
//! | `GET /fake/health` | `ok` |
//! | `GET /fake/switches` | where every switch is, and how many calls it has met |
//! | `POST /fake/switches` | sets one: [`switches::Setting`] |
//! | `POST /fake/toss/payments`, `GET /fake/toss/ledger` | [`toss`] |
//! | `POST /fake/solapi/…`, `/fake/fcm/…`, `/fake/smtp/…` | [`solapi`], [`fcm`], [`smtp`] |
//! | `GET /inbox`, `GET /inbox/{address}`, `GET /fake/messages` | [`inbox`]: what the message providers delivered |
//!
//! Each provider also has an address of its own ([`Fakes::addr_of`]), whose port is really closed when its switch says `refuse`.
//!
//! A new provider is a file with a function that returns a [`Provider`], and a line in [`Fakes::start`].

mod clock;
mod control;
mod door;
pub mod fcm;
pub mod inbox;
mod provider;
pub mod slack;
pub mod smtp;
pub mod solapi;
pub mod switches;
pub mod toss;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use clock::Clock;
use door::{Door, Service};
use fcm::Fcm;
use inbox::Inbox;
pub use provider::Provider;
use smtp::Smtp;
use solapi::Solapi;
use switches::Switches;
use toss::Toss;

/// Why the fakes did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They have no authentication worth the name, and take orders from whoever comes.
    #[error("host: {0} is not a loopback address; the fakes serve nobody else")]
    NotLoopback(IpAddr),
    /// A port that is taken, most likely.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Where the fakes listen, and what they take for a key.
#[derive(Clone, Debug)]
pub struct Options {
    /// A loopback address. Default: 127.0.0.1.
    pub host: IpAddr,
    /// The port of everything; the providers' own are the ones after it, in the order of [`Fakes::providers`]. 0, the default:
    /// the system chooses them all.
    pub port: u16,
    /// The secret key Toss Payments knows its merchant by. Default: [`toss::SECRET_KEY`].
    pub toss_secret_key: String,
}

impl Default for Options {
    fn default() -> Self {
        Options { host: Ipv4Addr::LOCALHOST.into(), port: 0, toss_secret_key: toss::SECRET_KEY.to_owned() }
    }
}

/// The fakes, serving until they are shut down or dropped.
pub struct Fakes {
    addr: SocketAddr,
    providers: Vec<(&'static str, SocketAddr)>,
    switches: Switches,
    toss: Toss,
    solapi: Solapi,
    inbox: Inbox,
    stop: CancellationToken,
    serving: JoinSet<()>,
}

impl Fakes {
    /// Starts all of them. Returns when they listen.
    ///
    /// # Errors
    ///
    /// When the host is not a loopback address, or a port cannot be had.
    pub async fn start(options: Options) -> Result<Fakes, Error> {
        if !options.host.is_loopback() {
            return Err(Error::NotLoopback(options.host));
        }
        let toss = Toss::new(&options.toss_secret_key);
        let inbox = Inbox::default();
        let solapi = Solapi::new(inbox.clone());
        let providers =
            vec![toss.provider(), solapi.provider(), Fcm::new(inbox.clone()).provider(), slack::provider(&inbox)];
        let switches = Switches::new(providers.iter().map(|provider| provider.name).chain([smtp::NAME]));
        let stop = CancellationToken::new();
        let mut serving = JoinSet::new();
        let mut everything = control::router(switches.clone()).merge(inbox.router());
        let mut addresses: Vec<(&'static str, SocketAddr)> = Vec::new();
        // The ports after that of everything; all chosen by the system when that is.
        let port_of = |index: usize| if options.port == 0 { 0 } else { options.port.saturating_add(index as u16 + 1) };
        for (index, provider) in providers.into_iter().enumerate() {
            let api = provider.switched(&switches);
            let listener = listen(SocketAddr::new(options.host, port_of(index))).await?;
            let address = local(&listener)?;
            let hatch = switches.hatch(provider.name);
            let service = Service::Http(api.clone().fallback(control::unknown));
            let door = Door::new(listener, address, service, stop.clone());
            serving.spawn(door.serve(hatch));
            addresses.push((provider.name, address));
            everything = everything.merge(api).merge(provider.control);
        }
        let relay = Smtp::new(switches.clone(), inbox.clone());
        let listener = listen(SocketAddr::new(options.host, port_of(addresses.len()))).await?;
        let address = local(&listener)?;
        everything = everything.merge(relay.control());
        serving
            .spawn(Door::new(listener, address, Service::Smtp(relay), stop.clone()).serve(switches.hatch(smtp::NAME)));
        addresses.push((smtp::NAME, address));
        let listener = listen(SocketAddr::new(options.host, options.port)).await?;
        let addr = local(&listener)?;
        let service = Service::Http(everything.fallback(control::unknown));
        let door = Door::new(listener, addr, service, stop.clone());
        serving.spawn(door.serve(switches::Hatch::always_open()));
        Ok(Fakes { addr, providers: addresses, switches, toss, solapi, inbox, stop, serving })
    }

    /// Where everything is.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The name and own address of every provider. All speak HTTP but [`smtp`].
    pub fn providers(&self) -> &[(&'static str, SocketAddr)] {
        &self.providers
    }

    /// The own address of a provider.
    ///
    /// # Panics
    ///
    /// When there is no provider of this name.
    pub fn addr_of(&self, provider: &str) -> SocketAddr {
        let found = self.providers.iter().find(|(name, _)| *name == provider);
        found.unwrap_or_else(|| panic!("no provider {provider:?} among {:?}", self.providers)).1
    }

    /// The own address of a provider as a base URL, without a slash at its end.
    ///
    /// # Panics
    ///
    /// When there is no provider of this name.
    pub fn url_of(&self, provider: &str) -> String {
        format!("http://{}", self.addr_of(provider))
    }

    /// The switches of all of them.
    pub fn switches(&self) -> &Switches {
        &self.switches
    }

    /// Toss Payments, from the inside.
    pub fn toss(&self) -> &Toss {
        &self.toss
    }

    /// SOLAPI, from the inside.
    pub fn solapi(&self) -> &Solapi {
        &self.solapi
    }

    /// The time of the message providers.
    pub fn clock(&self) -> &Clock {
        self.inbox.clock()
    }

    /// What the message providers delivered.
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Closes all ports and all connections, those with a request in hand too. Returns when they are closed.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        while self.serving.join_next().await.is_some() {}
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

fn local(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|source| Error::Listen { address: SocketAddr::from(([127, 0, 0, 1], 0)), source })
}
