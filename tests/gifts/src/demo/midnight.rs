//! Midnight, with an executor and every node killed while messages are on their way.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fakes::switches::{Mode, Switch};
use gifts::World;
use harness::wait;
use jiff::{SignedDuration, Timestamp};
use proto::gift::v1::GiftState;

use super::cast::{HAYOON, JIHO, MINJUN, Role, SUA};
use super::timeline::Timeline;

/// How long messages may take to reach the provider.
const ON_THEIR_WAY_WITHIN: Duration = Duration::from_secs(30);
/// How long the provider takes to say that it has a message: long enough for everybody to be killed meanwhile.
const ANSWER_MS: u64 = 8_000;
/// By which time moves on afterwards, and how often: until leases of the dead have run out and retries are due.
const STEP: SignedDuration = SignedDuration::from_secs(15);
const STEPS_MAX: usize = 40;

/// Those that are sent to phones then.
const SENT: [Role; 4] = [MINJUN, JIHO, HAYOON, SUA];

/// Moves time there, kills an executor and all nodes while the provider has messages of which nobody has heard back, starts the nodes
/// again, and waits until every gift is sent.
pub async fn pass(world: &mut World, timeline: &mut Timeline, midnight: Timestamp) -> Result<()> {
    let switches = world.fakes().switches().clone();
    let slow = Switch::new(fakes::solapi::NAME, Mode::Slow { ms: ANSWER_MS }).call("send");
    switches.set(slow).await?;
    timeline.fault(midnight, format!("SOLAPI takes {} s to answer", ANSWER_MS / 1_000));
    let clock = world.clock().clone();
    let moving = tokio::spawn(async move { clock.advance_to(midnight).await });
    // Kakao's no to Hayoon takes as long as a yes: there is no text message yet.
    let to_kakao = SENT.iter().filter(|role| role.id != HAYOON.id).count();
    let taken = wait::until("messages at the provider", ON_THEIR_WAY_WITHIN, || {
        let taken = SENT.iter().filter(|role| !world.links(role.address).is_empty()).count();
        std::future::ready(if taken >= to_kakao { Ok(taken) } else { Err(taken) })
    })
    .await?;
    world.kill_executor("executor-1")?;
    world.kill_nodes()?;
    timeline.fault(
        midnight,
        format!("executor-1 and all three nodes are killed; SOLAPI has {taken} messages and has answered none"),
    );
    // Nobody is left to answer; where the clock stands is in the log.
    ensure!(moving.await?.is_err(), "time was moved by a cluster that was killed meanwhile");
    switches.set(Switch::new(fakes::solapi::NAME, Mode::Ok)).await?;
    world.restart_nodes().await?;
    world.start_executor("executor-3")?;
    world.at_work().await?;
    let back = world.clock().now().await?;
    ensure!(back >= midnight, "the nodes came back at {back}, before the midnight they were killed at");
    timeline.fault(back, "the nodes are back with what they had on disk; executor-3 joins");
    let mut steps = 0;
    while !all_sent(world).await? {
        steps += 1;
        ensure!(steps <= STEPS_MAX, "not everything is sent ten minutes after midnight\n{}", world.logs(20));
        world.clock().advance_by(STEP).await?;
    }
    timeline.gather(world).await
}

async fn all_sent(world: &World) -> Result<bool> {
    for role in SENT {
        let gift = world.gift(role.id).await.with_context(|| format!("read {}", role.id))?;
        if gift.state() != GiftState::Sent {
            return Ok(false);
        }
    }
    Ok(true)
}
