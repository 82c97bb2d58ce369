//! Nodes that come and go on purpose.

use checkers::Options as Allowed;
use e2e::{PATIENCE, Scene, in_ms};
use harness::caller::Caller;
use harness::worker::Act;
use harness::{caller, wait};
use proto::admin::v1 as admin;

/// A fourth node is added, an old one removed, while triggers fire; the new one holds everything and can lead.
///
/// Red when a learner becomes a voter before it has caught up, or when a removed node still counts for a quorum.
#[tokio::test]
async fn a_node_is_added_and_another_removed() {
    let mut scene = Scene::three().await.unwrap();
    let _worker = scene.worker("e1", "moving", |_| Act::Succeed).await.unwrap();
    scene.schedule("moving", 300, in_ms(500)).await;
    let new = scene.cluster.start_joiner().await.unwrap();
    let node = scene.cluster.node(new);
    let add =
        admin::AddNodeRequest { node: new, endpoint: node.client.to_string(), peer_endpoint: node.peers.to_string() };
    let added = scene
        .caller
        .call(|channel| {
            let request = add.clone();
            async move { caller::cluster(channel).add_node(request).await }
        })
        .await
        .unwrap();
    assert!(added.partitions.iter().all(|partition| partition.voters.contains(&new)), "{added:?}");
    scene.schedule("between", 100, in_ms(3_600_000)).await;
    // Told to one that stays: what the removed node knows ends with its removal.
    let staying = Caller::new(&[scene.cluster.node(2).endpoint()]).unwrap();
    let removed = staying
        .call(|channel| async move { caller::cluster(channel).remove_node(admin::RemoveNodeRequest { node: 1 }).await })
        .await
        .unwrap();
    assert!(removed.partitions.iter().all(|partition| partition.voters == [2, 3, new]), "{removed:?}");
    scene.cluster.kill(1).unwrap();
    // Two of the three that are left are a quorum, the new one among them.
    scene.cluster.ready().await.unwrap();
    scene.cluster.kill(2).unwrap();
    let cluster = &scene.cluster;
    wait::until("leaders among the two that are left", PATIENCE, || cluster.agreed()).await.unwrap();
    let _second = scene.worker("e2", "after", |_| Act::Succeed).await.unwrap();
    scene.schedule("after", 100, in_ms(200)).await;
    scene
        .until("completion of both topics", PATIENCE, |history| {
            let done = |topic: &str| history.completions.iter().filter(|one| one.trigger.id.starts_with(topic)).count();
            done("moving-") >= 300 && done("after-") >= 100
        })
        .await
        .unwrap();
    scene.verdict(&Allowed::default()).await;
}

/// A drained node leads nothing, callers notice nothing, and it can be taken back.
///
/// Red when draining does not keep the node from being elected again.
#[tokio::test]
async fn a_drained_node_leads_nothing() {
    let mut scene = Scene::three().await.unwrap();
    let _worker = scene.worker("e1", "drain", |_| Act::Succeed).await.unwrap();
    let leader = scene.cluster.busiest_leader().await.unwrap();
    let drain = |undo| admin::DrainNodeRequest { node: leader, undo };
    scene.caller.call(|channel| async move { caller::cluster(channel).drain_node(drain(false)).await }).await.unwrap();
    let leaders = scene.cluster.leaders().await.unwrap();
    assert!(leaders.values().all(|node| *node != leader), "{leaders:?}");
    scene.schedule("drain", 200, in_ms(200)).await;
    scene.finished().await.unwrap();
    // Stopped in peace: no failed calls, no lost leases.
    scene.cluster.terminate(leader).unwrap();
    scene.schedule("drained", 50, in_ms(3_600_000)).await;
    scene.cluster.spawn(leader).unwrap();
    scene.cluster.ready().await.unwrap();
    scene.caller.call(|channel| async move { caller::cluster(channel).drain_node(drain(true)).await }).await.unwrap();
    let target = leader;
    scene
        .caller
        .call(|channel| async move {
            caller::cluster(channel).transfer_leader(admin::TransferLeaderRequest { partition: 0, to: target }).await
        })
        .await
        .unwrap();
    assert_eq!(scene.cluster.leaders().await.unwrap()[&0], leader);
    scene.verdict(&Allowed::default()).await;
}
