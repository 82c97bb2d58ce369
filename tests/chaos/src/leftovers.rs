//! What the disks say in the end: every member is stopped, and `bosingakd verify` looks through what it left.

use std::process::Command;

use harness::cluster::Cluster;
use harness::{Error, Result, binary};

use crate::nemesis::MEMBERS;

/// Stops all members and returns, as this build of the server says, what is wrong with their data, which should be nothing.
///
/// # Errors
///
/// When a member does not stop, or its data cannot be looked at.
pub fn verify(cluster: &mut Cluster, server: &str) -> Result<Vec<String>> {
    let verifier = binary::find(server)?;
    let mut wrong = Vec::new();
    for node in MEMBERS {
        cluster.terminate(node.into())?;
        let said =
            Command::new(&verifier).arg("verify").arg("--data").arg(cluster.node(node.into()).data()).output()?;
        let text = String::from_utf8_lossy(&said.stdout);
        match said.status.code() {
            Some(0) => {}
            Some(1) => wrong.push(format!("node {node}:\n{text}")),
            other => {
                let why = String::from_utf8_lossy(&said.stderr);
                return Err(Error(format!("verify of node {node} exits with {other:?}: {why}{text}")));
            }
        }
    }
    Ok(wrong)
}
