//! Clusters in one process: what is proposed is applied everywhere, whoever dies.

mod cluster_support;

use bytes::Bytes;
use cluster_support::*;
use raft::{CallError, Error, Health, Node, ProposeError, ReadError};
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_node_is_a_cluster() {
    let mut cluster = Cluster::new(1, 2).await;
    for partition in 0..2 {
        for n in 0..20 {
            cluster.propose(partition, &format!("add a {n}")).await;
        }
    }
    let (at, _) = cluster.leader(1).await;
    assert!(cluster.group(at, 1).lease_valid(), "it is its own majority");
    cluster.stop(0).await;
    cluster.start(0).await;
    for partition in 0..2 {
        cluster.settle(partition).await;
        let store = cluster.group(0, partition).store().unwrap();
        assert_eq!(counter(&store, "a"), 190);
    }
    cluster.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_agree() {
    let cluster = Cluster::new(3, 2).await;
    for n in 0..100 {
        cluster.propose(n % 2, &format!("add a {n}")).await;
    }
    for partition in 0..2 {
        cluster.settle(partition).await;
    }
    for at in 0..3 {
        assert_eq!(counter(&cluster.group(at, 0).store().unwrap(), "a"), 2450);
        assert_eq!(counter(&cluster.group(at, 1).store().unwrap(), "a"), 2500);
    }
    cluster.down().await;
}

/// Turns red when `Group::submit` does not hand proposals to the core before it returns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_enter_the_log_in_the_order_of_submission() {
    let cluster = Cluster::new(3, 1).await;
    let (at, term) = cluster.leader(0).await;
    let group = cluster.group(at, 0);
    let mut pending = Vec::new();
    for n in 0..200 {
        let entry = Bytes::from(format!("add a {n}"));
        pending.push(group.submit(term, entry).await.unwrap());
    }
    let mut last = 0;
    for pending in pending {
        let index = pending.outcome().await.unwrap().index;
        assert!(index > last, "{index} after {last}");
        last = index;
    }
    cluster.settle(0).await;
    cluster.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_leads_when_the_leader_is_gone() {
    let mut cluster = Cluster::new(3, 1).await;
    for n in 0..50 {
        cluster.propose(0, &format!("add a {n}")).await;
    }
    let (old, term) = cluster.leader(0).await;
    cluster.stop(old).await;
    let (new, newer) = cluster.leader(0).await;
    assert_ne!(new, old);
    assert!(newer > term);
    for n in 50..100 {
        cluster.propose(0, &format!("add a {n}")).await;
    }
    cluster.start(old).await;
    cluster.settle(0).await;
    assert_eq!(counter(&cluster.group(old, 0).store().unwrap(), "a"), 4950);
    cluster.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_after_all_were_stopped() {
    let mut cluster = Cluster::new(3, 3).await;
    for n in 0..60 {
        cluster.propose(n % 3, &format!("add a {n}")).await;
    }
    for at in 0..3 {
        cluster.stop(at).await;
    }
    for at in 0..3 {
        cluster.start(at).await;
    }
    let mut sum = 0;
    for partition in 0..3 {
        cluster.settle(partition).await;
        sum += counter(&cluster.group(1, partition).store().unwrap(), "a");
    }
    assert_eq!(sum, 1770);
    cluster.down().await;
}

/// Turns red when `GroupInner::submit` leaves out `with_leader`, once the check of the watch before it is gone too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proposal_of_a_past_term_is_refused() {
    let cluster = Cluster::new(3, 1).await;
    let (at, term) = cluster.leader(0).await;
    let group = cluster.group(at, 0);
    let refused = group.propose(term - 1, Bytes::from_static(b"add a 1")).await;
    assert!(matches!(refused, Err(ProposeError::NotLeader { .. })), "{refused:?}");
    let other = cluster.group((at + 1) % 3, 0);
    leadership(&other, |l| l.leader.is_some()).await;
    match other.propose(term, Bytes::from_static(b"add a 1")).await {
        Err(e @ ProposeError::NotLeader { .. }) => {
            assert!(e.is_definite());
            let ProposeError::NotLeader { leader } = e else { unreachable!() };
            let leader = leader.expect("known");
            assert_eq!(leader.endpoint, cluster.members[at].endpoint);
        }
        other => panic!("{other:?}"),
    }
    cluster.settle(0).await;
    assert_eq!(counter(&group.store().unwrap(), "a"), 0);
    cluster.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_too_large_is_refused_with_both_numbers() {
    let cluster = Cluster::new(1, 1).await;
    let (at, term) = cluster.leader(0).await;
    let limit = cluster.config(0).log.entry_bytes_max();
    let huge = Bytes::from(vec![b'x'; limit + 1]);
    let refused = cluster.group(at, 0).propose(term, huge).await;
    assert!(matches!(refused, Err(ProposeError::TooLarge { bytes, limit: l }) if bytes == limit + 1 && l == limit));
    cluster.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_barrier_is_above_what_was_acknowledged_before_it() {
    let cluster = Cluster::new(3, 1).await;
    let (at, _) = cluster.leader(0).await;
    let group = cluster.group(at, 0);
    for n in 0..20 {
        let index = cluster.propose(0, &format!("add a {n}")).await;
        let readers = (0..10).map(|_| group.read_barrier());
        for read in futures::future::join_all(readers).await {
            assert!(read.unwrap() >= index);
        }
    }
    let refused = cluster.group((at + 1) % 3, 0).read_barrier().await;
    assert!(matches!(refused, Err(ReadError::NotLeader { .. })), "{refused:?}");
    cluster.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_alone_has_no_lease_and_serves_nothing() {
    let mut cluster = Cluster::new(3, 1).await;
    let (at, term) = cluster.leader(0).await;
    let group = cluster.group(at, 0);
    until("a lease", || group.lease_valid().then_some(())).await;
    for other in (0..3).filter(|other| *other != at) {
        cluster.stop(other).await;
    }
    until("the lease to end", || (!group.lease_valid()).then_some(())).await;
    let read = group.read_barrier().await;
    assert!(matches!(read, Err(ReadError::NoQuorum | ReadError::NotLeader { .. })), "{read:?}");
    let refused = group.propose(term, Bytes::from_static(b"add a 1")).await;
    assert!(
        matches!(refused, Err(ProposeError::NoQuorum | ProposeError::NotLeader { .. })),
        "{refused:?}"
    );
    cluster.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_entry_halts_its_group_and_no_other() {
    let mut cluster = Cluster::new(1, 2).await;
    cluster.propose(0, "add a 1").await;
    let (at, term) = cluster.leader(0).await;
    let group = cluster.group(at, 0);
    let fate = group.propose(term, Bytes::from_static(b"conjure")).await;
    assert!(matches!(fate, Err(ProposeError::OutcomeUnknown)), "{fate:?}");
    let halted = |group: &raft::Group<Counters>| match group.status().health {
        Health::Halted(reason) => Some(reason),
        _ => None,
    };
    let reason = until("the halt", || halted(&group)).await;
    assert!(reason.contains("conjure") && reason.contains("index"), "{reason}");
    let refused = group.propose(term, Bytes::from_static(b"add a 1")).await;
    assert!(matches!(refused, Err(ProposeError::Unavailable { .. })), "{refused:?}");
    cluster.propose(1, "add a 1").await;
    assert_eq!(*cluster.node(0).fatal().borrow(), None);

    cluster.stop(0).await;
    cluster.start(0).await;
    until("the halt again", || halted(&cluster.group(0, 0))).await;
    cluster.propose(1, "add a 1").await;
    cluster.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_apply_halts_and_names_the_entry() {
    let cluster = Cluster::new(1, 1).await;
    let (at, term) = cluster.leader(0).await;
    let group = cluster.group(at, 0);
    let _ = group.propose(term, Bytes::from_static(b"panic")).await;
    let reason = until("the halt", || match group.status().health {
        Health::Halted(reason) => Some(reason),
        _ => None,
    })
    .await;
    assert!(reason.contains("as asked") && reason.contains("entries"), "{reason}");
    cluster.down().await;
}

/// Turns red when `founding::found` leaves out `remember`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_was_lost_is_not_founded_again() {
    let mut cluster = Cluster::new(3, 1).await;
    cluster.propose(0, "add a 1").await;
    cluster.settle(0).await;
    cluster.stop(2).await;
    std::fs::remove_dir_all(cluster.dir(2)).unwrap();
    cluster.start(2).await;
    let refused = cluster.node(2).init(&cluster.members).await;
    assert!(matches!(refused, Err(Error::Amnesia { node: 3, .. })), "{refused:?}");
    cluster.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn founding_again_changes_nothing() {
    let mut cluster = Cluster::new(3, 2).await;
    cluster.propose(0, "add a 1").await;
    cluster.node(0).init(&cluster.members).await.unwrap();
    cluster.stop(0).await;
    cluster.start(0).await;
    cluster.node(0).init(&cluster.members).await.unwrap();
    cluster.settle(0).await;
    assert_eq!(counter(&cluster.group(0, 0).store().unwrap(), "a"), 1);
    cluster.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_directory_is_refused() {
    let mut cluster = Cluster::new(1, 1).await;
    cluster.stop(0).await;
    let mut config = cluster.config(0);
    config.cluster = "other".into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let Err(refused) = Node::open(config, listener, |_| Counters::default()).await else {
        panic!("opened");
    };
    assert!(matches!(&refused, Error::Foreign { .. }), "{refused}");
    assert!(refused.to_string().contains(r#"cluster "test""#), "{refused}");
    cluster.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_layer_above_can_ask_other_nodes() {
    let cluster = Cluster::new(2, 1).await;
    let ask = |to, what: &'static str| cluster.node(0).call(to, Bytes::from_static(what.as_bytes()), LIMIT);
    let early = ask(2, "hello").await;
    assert!(matches!(early, Err(CallError::Refused(_))), "{early:?}");
    cluster.node(1).set_call_handler(echo());
    assert_eq!(ask(2, "hello").await.unwrap(), "1:hello");
    assert!(matches!(ask(2, "refuse").await, Err(CallError::Refused(reason)) if reason == "no"));
    assert!(matches!(ask(9, "hello").await, Err(CallError::UnknownNode(9))));
    cluster.down().await;
}

/// Turns red when anything proposes, or saves a commit mark, on a clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_cluster_writes_nothing() {
    let cluster = Cluster::with(3, 2, false, eager()).await;
    for partition in 0..2 {
        cluster.propose(partition, "add a 1").await;
        cluster.settle(partition).await;
    }
    let (at, _) = cluster.leader(0).await;
    let group = cluster.group(at, 0);
    let written = || -> Vec<Vec<u8>> {
        let log = |at| std::fs::read_dir(cluster.dir(at).join("log")).unwrap();
        let mut files: Vec<_> = (0..3).flat_map(log).map(|e| e.unwrap().path()).collect();
        files.sort();
        files.iter().filter_map(|f| std::fs::read(f).ok()).collect()
    };
    // Commit marks and purges of what was proposed may still follow; then nothing must.
    let mut before = written();
    let mut quiet = 0;
    while quiet < 10 {
        // A heartbeat that was answered: the cluster lived through an interval.
        until("an old answer", || group.since_quorum().is_some_and(|age| age.as_millis() > 80).then_some(())).await;
        until("a new answer", || group.since_quorum().is_some_and(|age| age.as_millis() < 80).then_some(())).await;
        let now = written();
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
    }
    cluster.down().await;
}
