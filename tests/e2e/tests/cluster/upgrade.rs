//! Builds of different feature level in one cluster (`scheduler::upgrade`). The newer one does in apply what the older one does not.

use checkers::Options as Allowed;
use e2e::{PATIENCE, Scene, in_ms};
use harness::worker::Act;
use harness::{caller, record, wait};
use proto::admin::v1 as admin;

/// The build of the next level.
const NEXT: &str = "bosingakd-next";
/// Triggers scheduled at a time.
const EACH: usize = 50;

/// The level in force in every partition, and what the nodes' builds know, as one node says.
async fn levels(scene: &Scene, node: u64) -> Result<(Vec<u32>, Vec<u32>), String> {
    let status = scene.cluster.status(node).await.map_err(|status| status.to_string())?;
    let in_force = status.partitions.iter().map(|partition| partition.feature_level).collect();
    Ok((in_force, status.nodes.iter().map(|node| node.feature_level).collect()))
}

async fn until_levels(scene: &Scene, in_force: u32, builds: [u32; 3]) {
    for node in 1..=3 {
        wait::until("levels", PATIENCE, || async {
            let seen = levels(scene, node).await?;
            if seen == (vec![in_force; 4], builds.into()) { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await
        .unwrap_or_else(|error| panic!("node {node}: {error}"));
    }
}

/// Schedules so many more.
async fn schedule(scene: &Scene, rounds: &mut usize, due_ms: i64) {
    for number in 0..EACH {
        let request = record::request(format!("upgrade-{rounds}-{number}"), "upgrade", due_ms);
        scene.session(1).schedule(request).await.unwrap();
    }
    *rounds += 1;
}

/// Has a node lead the first partition.
async fn lead(scene: &Scene, node: u64) {
    wait::until("transfer", PATIENCE, || async {
        let status = scene.cluster.status(node).await.map_err(|status| status.to_string())?;
        if status.partitions.first().is_some_and(|partition| partition.leader == node) {
            return Ok(());
        }
        let request = admin::TransferLeaderRequest { partition: 0, to: node };
        let asked = scene.caller.call(|channel| async move { caller::cluster(channel).transfer_leader(request).await });
        asked.await.map(drop).map_err(|problem| problem.to_string())
    })
    .await
    .unwrap();
}

/// Waits as long as every leader needs to ask everybody twice, which is when a trigger due by then has completed.
async fn asked_twice(scene: &Scene, rounds: &mut usize) {
    schedule(scene, rounds, in_ms(6_000)).await;
    scene.finished().await.unwrap();
}

/// A node of the next build joins a cluster of the old one, and leads: it does not do what the others do not know.
///
/// Red when a leader that has not asked yet, or does not know the members yet, writes at the level of its own build.
#[tokio::test]
async fn a_newer_node_joins_and_waits_for_the_others() {
    let mut scene = Scene::three().await.unwrap();
    let _worker = scene.worker("e1", "upgrade", |_| Act::Succeed).await.unwrap();
    let joiner = scene.cluster.start_joiner_build(NEXT).await.unwrap();
    let node = scene.cluster.node(joiner);
    let add = admin::AddNodeRequest {
        node: joiner,
        endpoint: node.client.to_string(),
        peer_endpoint: node.peers.to_string(),
    };
    scene
        .caller
        .call(|channel| {
            let add = add.clone();
            async move { caller::cluster(channel).add_node(add).await }
        })
        .await
        .unwrap();
    lead(&scene, joiner).await;
    let mut rounds = 0;
    asked_twice(&scene, &mut rounds).await;
    for node in 1..=joiner {
        let (in_force, builds) = levels(&scene, node).await.unwrap();
        assert_eq!((in_force, builds), (vec![1; 4], vec![1, 1, 1, 2]), "node {node}");
        let status = scene.cluster.status(node).await.unwrap();
        assert!(!status.alarms.iter().any(|alarm| alarm.contains("halted")), "{:?}", status.alarms);
    }
    scene.verdict(&Allowed::default()).await;
}

/// Nodes are exchanged one by one under load. As long as one is of the old build, nobody does what it does not know, whoever leads;
/// then all do. An old build that comes back later halts and says why, and the others go on.
///
/// Red when a leader writes at the level of its own build, when it does not ask the others, or when an old build takes up rows of
/// a level it does not know.
#[tokio::test]
async fn a_cluster_goes_over_to_a_new_level_when_its_last_node_has() {
    let mut scene = Scene::three().await.unwrap();
    let _worker = scene.worker("e1", "upgrade", |_| Act::Succeed).await.unwrap();
    until_levels(&scene, 1, [1, 1, 1]).await;
    let mut rounds = 0;
    let mut builds = [1, 1, 1];
    for node in 1..=3 {
        schedule(&scene, &mut rounds, in_ms(1_500)).await;
        scene.cluster.terminate(node).unwrap();
        scene.cluster.spawn_build(node, NEXT).unwrap();
        scene.cluster.ready().await.unwrap();
        builds[node as usize - 1] = 2;
        let in_force = if builds == [2, 2, 2] { 2 } else { 1 };
        // The newest build leads, so that it is the one who must not go ahead.
        lead(&scene, node).await;
        schedule(&scene, &mut rounds, in_ms(500)).await;
        if in_force == 1 {
            asked_twice(&scene, &mut rounds).await;
        }
        until_levels(&scene, in_force, builds).await;
    }

    // Back to the old build.
    scene.cluster.terminate(3).unwrap();
    scene.cluster.spawn(3).unwrap();
    let alarm = wait::until("alarm of the old build", PATIENCE, || async {
        let status = scene.cluster.status(3).await.map_err(|status| status.to_string())?;
        let halted: Vec<String> = status.alarms.into_iter().filter(|alarm| alarm.contains("halted")).collect();
        if halted.len() == 4 { Ok(halted) } else { Err(format!("{halted:?}")) }
    });
    for alarm in alarm.await.unwrap() {
        assert!(alarm.contains("feature level 2, this build has 1"), "{alarm}");
    }
    schedule(&scene, &mut rounds, in_ms(200)).await;
    scene.cluster.terminate(3).unwrap();
    scene.cluster.spawn_build(3, NEXT).unwrap();
    scene.cluster.ready().await.unwrap();
    until_levels(&scene, 2, [2, 2, 2]).await;
    scene.finished().await.unwrap();
    let verdict = scene.verdict(&Allowed::default()).await;
    assert_eq!(verdict.checked.completions, EACH * rounds);
}
