//! Network namespaces, one for each node and one for those who call, connected by nothing but the [`Switch`].

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use crate::os;
use crate::switch::{MTU, Switch};

/// Last byte of the callers' address.
pub const CALLERS: u8 = 254;

/// The namespaces. Dropping this deletes them.
#[derive(Debug)]
pub struct Network {
    names: Vec<String>,
    switch: Switch,
}

/// The address behind a port of the switch.
#[must_use]
pub fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 77, 0, last).into()
}

impl Network {
    /// Makes namespaces for `nodes` nodes and the callers, and puts the calling thread into that of the callers.
    ///
    /// # Errors
    ///
    /// When the platform does not permit it.
    pub fn start(nodes: u8, seed: u64) -> io::Result<Network> {
        let mut names = Names(Vec::new());
        let mut ports = Vec::new();
        for last in (1..=nodes).chain([CALLERS]) {
            let name = format!("bosingak-{}-{last}", std::process::id());
            os::command("ip", &["netns", "add", &name])?;
            names.0.push(name.clone());
            ports.push((last, os::within(&name, || interface(last))?));
        }
        os::enter(names.0.last().map_or("", String::as_str))?;
        let switch = Switch::start(ports, seed);
        Ok(Network { names: std::mem::take(&mut names.0), switch })
    }

    /// Where packets go.
    #[must_use]
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    /// The namespace of a node.
    #[must_use]
    pub fn namespace(&self, node: u8) -> &str {
        self.names.get(usize::from(node).wrapping_sub(1)).map_or("", String::as_str)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(Names(std::mem::take(&mut self.names)));
    }
}

/// Namespaces that are deleted also when not all could be made.
struct Names(Vec<String>);

impl Drop for Names {
    fn drop(&mut self) {
        for name in &self.0 {
            if let Err(error) = os::command("ip", &["netns", "del", name]) {
                eprintln!("namespace {name} is left: {error}");
            }
        }
    }
}

/// Makes and raises the interface in the namespace of the calling thread.
fn interface(last: u8) -> io::Result<std::fs::File> {
    let file = os::tun("bs0")?;
    let (address, mtu) = (format!("{}/24", address(last)), MTU.to_string());
    os::command("ip", &["link", "set", "lo", "up"])?;
    os::command("ip", &["addr", "add", &address, "dev", "bs0"])?;
    os::command("ip", &["link", "set", "bs0", "mtu", &mtu, "txqueuelen", "2000", "up"])?;
    Ok(file)
}
