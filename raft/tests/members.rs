//! Leaders that move, nodes that come and go, followers that were away for too long.

mod cluster_support;

use std::collections::BTreeSet;

use cluster_support::*;
use raft::ChangeError;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_can_be_handed_over() {
    let cluster = Cluster::new(3, 1).await;
    cluster.propose(0, "add a 1").await;
    cluster.settle(0).await;
    let (at, term) = cluster.leader(0).await;
    let to = (at + 1) % 3;
    cluster.group(at, 0).transfer(to as u64 + 1).await.unwrap();
    let now = leadership(&cluster.group(to, 0), |l| l.we_lead).await;
    assert!(now.term > term);
    cluster.propose(0, "add a 1").await;

    let old = cluster.group(at, 0);
    leadership(&old, |l| l.term == now.term).await;
    assert!(matches!(old.transfer(1).await, Err(ChangeError::NotLeader { leader: Some(_) })));
    let refused = cluster.group(to, 0).transfer(9).await;
    assert!(matches!(refused, Err(ChangeError::UnknownNode(9))), "{refused:?}");
    // Through any node.
    cluster.node(at).transfer(0, at as u64 + 1).await.unwrap();
    leadership(&cluster.group(at, 0), |l| l.we_lead).await;
    cluster.settle(0).await;
    cluster.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_are_spread_and_a_drained_node_leads_nothing() {
    let cluster = Cluster::with(3, 3, true, raft::Checkpoints::default()).await;
    let leaders = || {
        let lead = |p: u32, at: usize| cluster.group(at, p).leadership().borrow().we_lead;
        (0..3).filter_map(|p| (0..3).find(|at| lead(p, *at))).collect::<Vec<_>>()
    };
    until("one leader per node", || (leaders().into_iter().collect::<BTreeSet<_>>().len() == 3).then_some(())).await;
    cluster.node(0).drain().await.unwrap();
    until("leaders elsewhere", || {
        let leaders = leaders();
        (leaders.len() == 3 && !leaders.contains(&0)).then_some(())
    })
    .await;
    for partition in 0..3 {
        cluster.propose(partition, "add a 1").await;
    }
    assert!(!leaders().contains(&0));
    let refused = cluster.node(1).transfer(0, 7).await;
    assert!(matches!(refused, Err(ChangeError::UnknownNode(7))), "{refused:?}");
    cluster.node(0).undrain();
    until("one leader per node again", || (leaders().into_iter().collect::<BTreeSet<_>>().len() == 3).then_some(()))
        .await;
    cluster.down().await;
}

/// Turns red when `purge::floor` returns the durable index of a follower as the last index of the leader, and when a snapshot's rows are not put in place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_was_away_for_too_long_gets_a_snapshot() {
    let mut cluster = Cluster::with(3, 1, false, eager()).await;
    cluster.propose(0, "add a 1").await;
    cluster.settle(0).await;
    let (at, _) = cluster.leader(0).await;
    let away = (at + 1) % 3;
    cluster.stop(away).await;
    let mut last = 0;
    for n in 0..50 {
        let pad = "x".repeat(20_000);
        cluster.propose(0, &format!("big {n} {pad}")).await;
        last = cluster.propose(0, "add a 1").await;
    }
    until("the log to be cut", || {
        let nodes = cluster.live();
        let purged = nodes.iter().map(|node| node.status()[0].purged_index).min();
        purged.is_some_and(|purged| purged + 20 > last).then_some(())
    })
    .await;
    cluster.start(away).await;
    cluster.settle(0).await;
    let store = cluster.group(away, 0).store().unwrap();
    assert_eq!(counter(&store, "a"), 51);
    assert!(cluster.dir(away).join("state/0/rows-2").is_dir(), "it was not a snapshot");
    drop(store);
    until("the replaced rows to be deleted", || (!cluster.dir(away).join("state/0/rows-1").exists()).then_some(()))
        .await;

    // It is a full member: with another node away it is needed for every entry, and keeps what it installed.
    let other = (0..3).find(|other| *other != at && *other != away).unwrap();
    cluster.stop(other).await;
    cluster.propose(0, "add a 1").await;
    cluster.stop(away).await;
    cluster.start(away).await;
    cluster.propose(0, "add a 1").await;
    cluster.settle(0).await;
    assert_eq!(counter(&cluster.group(away, 0).store().unwrap(), "a"), 53);
    cluster.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_added_and_another_removed() {
    let mut cluster = Cluster::with(3, 2, false, eager()).await;
    for partition in 0..2 {
        for n in 0..30 {
            cluster.propose(partition, &format!("add a {n}")).await;
        }
    }
    let member = cluster.open_next().await;
    cluster.node(1).add_node(member.clone()).await.unwrap();
    cluster.node(1).add_node(member).await.unwrap();
    for partition in 0..2 {
        cluster.settle(partition).await;
        assert_eq!(counter(&cluster.group(3, partition).store().unwrap(), "a"), 435);
        let (at, _) = cluster.leader(partition).await;
        let replicas = cluster.group(at, partition).status().replicas;
        assert_eq!(replicas.iter().filter(|r| r.voter).count(), 4, "{replicas:?}");
    }

    // Whoever leads: one of the two groups may be led by the node that goes.
    let (leader, _) = cluster.leader(0).await;
    let gone = leader as u64 + 1;
    let via = (leader + 1) % 4;
    cluster.node(via).remove_node(gone).await.unwrap();
    let again = cluster.node(via).remove_node(gone).await;
    assert!(matches!(again, Ok(()) | Err(ChangeError::UnknownNode(_))), "{again:?}");
    for partition in 0..2 {
        let (at, _) = cluster.leader(partition).await;
        assert_ne!(at, leader);
        let replicas = cluster.group(at, partition).status().replicas;
        assert!(replicas.iter().all(|r| r.node != gone) && replicas.len() == 3, "{replicas:?}");
        let left = cluster.group(leader, partition);
        until("the removed replica to end", || (left.status().health == raft::Health::Vacant).then_some(())).await;
        cluster.propose(partition, "add a 1").await;
    }
    // It may come back, as somebody new.
    let member = cluster.members[leader].clone();
    cluster.node(via).add_node(member).await.unwrap();
    for partition in 0..2 {
        cluster.settle(partition).await;
        assert_eq!(counter(&cluster.group(leader, partition).store().unwrap(), "a"), 436);
    }
    cluster.stop(leader).await;
    cluster.start(leader).await;
    cluster.settle(0).await;
    cluster.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_would_stop_the_group_is_refused() {
    let mut cluster = Cluster::new(3, 1).await;
    let (at, _) = cluster.leader(0).await;
    let (down, up) = ((at + 1) % 3, (at + 2) % 3);
    cluster.stop(down).await;
    // Leadership may be moved for balance meanwhile: whoever leads is asked.
    let leads = until("the silence to be noticed", || {
        let leads = [at, up].into_iter().find(|node| cluster.group(*node, 0).status().leadership.we_lead)?;
        let replicas = cluster.group(leads, 0).status().replicas;
        let silent = replicas.iter().find(|r| r.node == down as u64 + 1)?.silent;
        silent.is_some_and(|s| s.as_secs() >= 2).then_some(leads)
    })
    .await;
    let other = if leads == at { up } else { at };
    let refused = cluster.node(leads).remove_node(other as u64 + 1).await;
    assert!(matches!(refused, Err(ChangeError::Refused(_))), "{refused:?}");
    // The silent one may go.
    cluster.node(other).remove_node(down as u64 + 1).await.unwrap();
    cluster.propose(0, "add a 1").await;
    cluster.down().await;
}
