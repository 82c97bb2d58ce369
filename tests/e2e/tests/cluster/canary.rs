//! The canary, where it matters: a node that lives, answers and fires nothing.

use e2e::{PATIENCE, Scene};
use harness::cluster::Options;
use harness::wait;

/// Without a majority nothing fires, though the node that is left lives and answers: its canaries say so, of partitions it
/// leads and of those others led. When the others go on they are well again.
///
/// Turns red when a leader resets the age of its canary without one coming through, or when what another leader told last
/// does not grow old.
#[tokio::test]
async fn the_node_that_is_left_without_a_majority_says_that_nothing_fires() {
    let mut scene = Scene::with(Options::default().with("canary.interval", "\"1s\"")).await.unwrap();
    let overdue = async |scene: &Scene| {
        let status = scene.cluster.status(1).await.map_err(|status| status.to_string())?;
        let ages: Vec<_> = status
            .partitions
            .iter()
            .map(|partition| (partition.canary_age.map(|age| age.seconds), partition.canary_overdue))
            .collect();
        Ok::<_, String>(ages)
    };
    wait::until("canaries of all partitions on node 1", PATIENCE, || async {
        let ages = overdue(&scene).await?;
        if ages.iter().all(|(age, overdue)| age.is_some() && !overdue) { Ok(()) } else { Err(format!("{ages:?}")) }
    })
    .await
    .unwrap();
    scene.cluster.pause(2).unwrap();
    scene.cluster.pause(3).unwrap();
    wait::until("every canary to be overdue", PATIENCE, || async {
        let ages = overdue(&scene).await?;
        if ages.len() == 4 && ages.iter().all(|(_, overdue)| *overdue) { Ok(()) } else { Err(format!("{ages:?}")) }
    })
    .await
    .unwrap();
    scene.cluster.resume(2).unwrap();
    scene.cluster.resume(3).unwrap();
    wait::until("no canary to be overdue", PATIENCE, || async {
        let ages = overdue(&scene).await?;
        if ages.iter().all(|(_, overdue)| !overdue) { Ok(()) } else { Err(format!("{ages:?}")) }
    })
    .await
    .unwrap();
}
