use super::super::fixture::{lateness, next_round, partition, round, status};
use super::*;

fn two() -> Picture {
    let first = round();
    let before = first.picture(None);
    next_round().picture(Some((first.at, &before)))
}

/// Turns red when a follower's figures are shown where the leader has answered, in whatever order they come.
#[test]
fn of_each_partition_the_leader_is_believed() {
    for turn in 0..3 {
        let mut round = round();
        round.answers.rotate_left(turn);
        let picture = round.picture(None);
        let seen: Vec<_> =
            picture.partitions.iter().map(|one| (one.partition, one.leader, one.applied, one.in_flight)).collect();
        assert_eq!(seen, [(0, 1, 1_000, 40), (1, 1, 1_000, 40), (2, 2, 1_000, 40)]);
        assert_eq!(picture.sum(|one| one.pending), 1_200_000);
        assert_eq!(picture.oldest(), Some(Duration::from_millis(2_250)));
        assert!(picture.partitions.iter().all(|one| one.health == Health::Good), "{picture:?}");
        let leads: Vec<usize> = picture.nodes.iter().map(|node| node.leads).collect();
        assert_eq!(leads, [2, 1, 0]);
    }
}

/// Turns red when a leader that has been replaced without noticing is believed, or its executors are counted.
#[test]
fn a_leader_of_an_older_term_is_not_believed() {
    for turn in 0..3 {
        let mut round = round();
        // Node 3 leads partition 0 since term 5; node 1 has not heard of it, node 2 has.
        for (at, heard) in [(1, true), (2, true)] {
            let status = round.answers[at].1.as_mut().unwrap();
            if heard {
                (status.partitions[0].leader, status.partitions[0].term) = (3, 5);
            }
        }
        let new = partition(0, 3, 3);
        round.answers[2].1.as_mut().unwrap().partitions[0] = PartitionStatus { term: 5, applied_index: 900, ..new };
        round.answers.rotate_left(turn);
        let picture = round.picture(None);
        assert_eq!((picture.partitions[0].leader, picture.partitions[0].applied), (3, 900));
        let gifts = picture.executors.iter().find(|one| one.executor == "gift-worker").unwrap();
        // In partitions 1 and 2; what node 1 knows of partition 0 is of the past.
        assert_eq!((gifts.partitions, gifts.in_flight, gifts.credit), (2, 80, 1_920));
    }
}

/// Turns red when rates are not of the time between the rounds, or go below zero.
#[test]
fn rates_are_of_the_interval() {
    let first = round();
    let before = first.picture(None);
    assert_eq!((before.interval, before.rate(|one| one.fired_per_s)), (None, None));
    let picture = two();
    assert_eq!(picture.interval, Some(Duration::from_secs(2)));
    assert_eq!(picture.rate(|one| one.completed_per_s), Some(1_500.0));
    assert_eq!(picture.rate(|one| one.fired_per_s), Some(1_800.0));
    // The same answers again, later: nothing has happened; and older ones afterwards are not less than nothing.
    let again = Round { at: Duration::from_secs(14), ..next_round() };
    let still = again.picture(Some((Duration::from_secs(12), &picture)));
    assert_eq!(still.rate(|one| one.completed_per_s), Some(0.0));
    let back = Round { at: Duration::from_secs(16), ..round() };
    assert_eq!(back.picture(Some((again.at, &still))).rate(|one| one.completed_per_s), Some(0.0));
}

/// Turns red when lateness from before the interval counts, or counts of another term are taken off.
#[test]
fn lateness_is_of_the_interval() {
    let picture = two();
    assert_eq!(picture.lateness.count, 300);
    assert_eq!(picture.lateness.p50, Some(Duration::from_millis(5)));
    assert_eq!(picture.lateness.p99, Some(Duration::from_millis(100)));
    // A new leader counts from zero.
    let mut later = Round { at: Duration::from_secs(14), ..next_round() };
    for (_, answer) in &mut later.answers {
        let partition = &mut answer.as_mut().unwrap().partitions[0];
        partition.term = 5;
        partition.lateness = partition.lateness.is_some().then(|| lateness([0, 0, 0, 3]));
    }
    let later = later.picture(Some((Duration::from_secs(12), &picture)));
    assert_eq!(later.lateness, Lateness { count: 3, p50: None, p99: None });
}

/// Turns red when a node that was asked by two names counts twice.
#[test]
fn a_node_asked_by_two_names_is_one() {
    let plain = round().picture(None);
    let mut round = round();
    round.answers.push(("http://seoul-1.internal:7300".into(), Ok(status(1))));
    let picture = round.picture(None);
    assert_eq!((picture.answering(), picture.nodes.len()), (3, 3));
    assert_eq!((&picture.executors, &picture.partitions), (&plain.executors, &plain.partitions));
    assert_eq!(picture.notes(), Vec::<String>::new());
}

/// Turns red when a round in which the leader was silent makes the next one count its whole term as new.
#[test]
fn lateness_outlasts_a_round_of_hearsay() {
    let first = round();
    let before = first.picture(None);
    let mut silent = Round { at: Duration::from_secs(11), ..round() };
    silent.answers[0].1 = Err("timed out".into());
    let hearsay = silent.picture(Some((first.at, &before)));
    assert_eq!(hearsay.lateness, Lateness::default());
    let after = next_round().picture(Some((silent.at, &hearsay)));
    assert_eq!(after.lateness, two().lateness);
}

/// Turns red when a node that does not answer is not named, or what the others know of its partitions is not shown.
#[test]
fn a_silent_node_is_named_and_the_others_are_believed() {
    let mut round = round();
    round.answers[0].1 = Err("connection refused".into());
    let picture = round.picture(None);
    assert_eq!((picture.answering(), picture.nodes.len()), (2, 3));
    assert_eq!(picture.notes(), ["node 1 at 10.0.0.1:7300 does not answer: connection refused; the others were asked"]);
    let health: Vec<&Health> = picture.partitions.iter().map(|one| &one.health).collect();
    assert_eq!(health, [&Health::Hearsay, &Health::Hearsay, &Health::Good]);
    assert_eq!(picture.partitions[0].applied, 998);
    // What nobody knows of is not lost either.
    round.answers.push(("http://10.0.0.9:7300".into(), Err("no route".into())));
    assert!(round.picture(None).notes()[1].starts_with("http://10.0.0.9:7300 does not answer"));
}

/// Turns red when nodes that an answer names are not asked, or one is asked twice.
#[test]
fn nodes_that_are_named_are_asked() {
    let mut round = round();
    round.answers.truncate(1);
    assert_eq!(round.endpoints(), ["http://10.0.0.1:7300", "10.0.0.2:7300", "10.0.0.3:7300"]);
    let picture = round.picture(None);
    assert_eq!(picture.nodes[1].silent, "not asked yet");
}

/// Turns red when one ill is shown as another, or as health.
#[test]
fn every_ill_has_its_name() {
    let ill = |change: fn(&mut PartitionStatus)| {
        let mut status = status(1);
        change(&mut status.partitions[0]);
        let round = Round { answers: vec![("http://10.0.0.1:7300".into(), Ok(status))], ..round() };
        round.picture(None).partitions[0].health.clone()
    };
    assert_eq!(ill(|_| {}), Health::Good);
    assert_eq!(ill(|one| one.leader = 0), Health::Leaderless);
    assert_eq!(ill(|one| one.health = ReplicaHealth::Halted.into()), Health::Halted);
    assert_eq!(ill(|one| one.health = ReplicaHealth::Rebuilding.into()), Health::Down);
    assert_eq!(ill(|one| one.clock_hold = "no majority".into()), Health::Held("no majority".into()));
    assert_eq!(ill(|one| one.leader = 2), Health::Hearsay);
    assert_eq!(ill(|one| one.lag.extend([(3, 101)])), Health::Lagging);
}

/// Turns red when cells move, or when something overdue or beyond the last cell is in the wrong one.
#[test]
fn the_forecast_begins_now() {
    let picture = round().picture(None);
    assert_eq!((picture.hour.len(), picture.day.len()), (60, 96));
    assert_eq!((picture.hour[0], picture.hour[1], picture.hour[30], picture.hour[59]), (100, 100_000, 20_000, 500));
    assert_eq!(picture.hour.iter().sum::<u64>(), 120_600);
    let late = Round { now_s: round().now_s + 120, ..round() };
    assert_eq!(late.picture(None).hour[0], 100_100);
    let unknown = Round { hour: None, ..round() };
    assert!(unknown.picture(None).hour.is_empty());
}
