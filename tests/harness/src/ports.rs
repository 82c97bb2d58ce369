//! Ports that stay ours across restarts of a node.
//!
//! Members must know each other's addresses before they start, and keep them when they are killed; so a port cannot
//! be left to the system. A block of ports belongs to whoever holds the lock of its file, below the range the system
//! hands out to connections.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::{Error, Result};

const FIRST: u16 = 12_000;
const BLOCKS: u16 = 800;

/// Ports of one block: enough for eight nodes.
pub const BLOCK: u16 = 24;

/// A locked block of loopback ports.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    used: u16,
    // Unlocked when closed, by the system if need be.
    _lock: File,
}

impl Ports {
    /// Takes a block nobody uses.
    ///
    /// # Errors
    ///
    /// When there is none, or no directory for the locks.
    pub fn reserve() -> Result<Self> {
        let directory = std::env::temp_dir().join("bosingak-ports");
        fs::create_dir_all(&directory)?;
        // Parallel tests begin at different blocks, so that they seldom try the same one.
        let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap_or(0);
        for turn in 0..BLOCKS {
            let block = (start + turn) % BLOCKS;
            let lock = File::create(directory.join(block.to_string()))?;
            if lock.try_lock().is_err() {
                continue;
            }
            let first = FIRST + block * BLOCK;
            if (first..first + BLOCK).all(is_free) {
                return Ok(Self { first, used: 0, _lock: lock });
            }
        }
        Err(Error::new("no block of free loopback ports"))
    }

    /// The next port of the block, always the same for the same call.
    ///
    /// # Errors
    ///
    /// When the block is used up.
    pub fn take(&mut self) -> Result<SocketAddr> {
        if self.used == BLOCK {
            return Err(Error::new("too many nodes for one block of ports"));
        }
        self.used += 1;
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, self.first + self.used - 1)))
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when a locked block is handed out again.
    #[test]
    fn blocks_do_not_overlap() {
        let mut one = Ports::reserve().unwrap();
        let mut two = Ports::reserve().unwrap();
        assert_ne!(one.take().unwrap(), two.take().unwrap());
        assert_ne!(one.take().unwrap(), one.take().unwrap());
    }
}
