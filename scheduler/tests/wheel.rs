//! The wheel's promises one at a time, as a caller meets them.

use scheduler::lane::{Class, LaneId, TopicId};
use scheduler::time::{Delay, Timestamp};
use scheduler::wheel::{Drift, Level, NextDue, Split, Wheel};

/// 2030-03-17T00:00:00Z.
const MIDNIGHT: Timestamp = Timestamp::from_millis(1_899_936_000_000);

fn at(hour: u64, minute: u64, second: u64, ms: u64) -> Timestamp {
    MIDNIGHT.after(Delay::from_secs((hour * 60 + minute) * 60 + second)).after(Delay::from_millis(ms))
}

fn gift() -> LaneId {
    LaneId::new(TopicId(7), Class::Normal)
}

fn next(wheel: &Wheel) -> Option<NextDue> {
    wheel.next_due(wheel.now())
}

/// Splits what is owed from a list of rows, as the store would tell.
fn settle(wheel: &mut Wheel, rows: &[Timestamp]) {
    while let Some(split) = wheel.splits_owed().next() {
        assert!(wheel.begin_split(split));
        let inside = rows.iter().filter(|due| split.from <= **due && **due < split.to);
        assert_eq!(wheel.finish_split(split, inside.map(|due| (gift(), *due, 1))), Drift::default());
    }
}

/// One trigger tomorrow costs two looks before it is due: two seconds before its minute, two before its second.
///
/// Turns red when `next_due` asks to be woken where the slot begins (`wake: at`): the split would come too late.
#[test]
fn a_lonely_trigger_is_found_in_two_looks() {
    let due = at(20, 37, 25, 123);
    let mut wheel = Wheel::new(at(0, 0, 5, 0));
    wheel.insert(gift(), due);

    let mut looks = Vec::new();
    while wheel.now() < due {
        let next = next(&wheel).unwrap();
        assert_eq!(next.lanes.of_lane(gift()), 1);
        looks.push((next.at, next.exact, next.wake));
        wheel.advance(next.wake);
        settle(&mut wheel, &[due]);
    }
    let minute = (at(20, 37, 0, 0), false, at(20, 36, 58, 0));
    let second = (at(20, 37, 25, 0), false, at(20, 37, 23, 0));
    assert_eq!(looks, [minute, second, (due, true, due)]);
    assert_eq!((next(&wheel), wheel.pending()), (None, 0));
}

/// A cancel that arrives between the snapshot and its result meets a cell that does not have the trigger yet.
///
/// Turns red when `level_of` forgets splits under way (delete its `if self.splitting...` block).
#[test]
fn a_trigger_cancelled_while_its_second_is_split_is_gone() {
    let mut wheel = Wheel::new(at(0, 0, 0, 0));
    for due in [at(0, 0, 30, 400), at(0, 0, 30, 700)] {
        wheel.insert(gift(), due);
    }
    assert_eq!(wheel.advance(at(0, 0, 28, 0)), 1);
    let split = Split { level: Level::Second, from: at(0, 0, 30, 0), to: at(0, 0, 31, 0) };
    assert_eq!(wheel.splits_owed().collect::<Vec<_>>(), [split]);
    assert!(wheel.begin_split(split));
    assert_eq!(wheel.splits_owed().next(), None);

    wheel.remove(gift(), at(0, 0, 30, 400));
    wheel.insert(gift(), at(0, 0, 30, 550));
    let meanwhile = next(&wheel).unwrap();
    assert_eq!((meanwhile.at, meanwhile.exact), (at(0, 0, 30, 0), false), "may be due at its start while it is split");

    let snapshot = [(gift(), at(0, 0, 30, 400), 1), (gift(), at(0, 0, 30, 700), 1)];
    assert_eq!(wheel.finish_split(split, snapshot), Drift::default());
    let found = next(&wheel).unwrap();
    assert_eq!((found.at, found.exact, found.lanes.total()), (at(0, 0, 30, 550), true, 1));
    assert_eq!(wheel.pending(), 2);
}

/// Turns red when `advance` keeps splits that are past (delete its `retain`): they would report a drift.
#[test]
fn a_split_that_is_passed_before_it_is_finished_is_void() {
    let mut wheel = Wheel::new(at(0, 0, 0, 0));
    wheel.insert(gift(), at(0, 0, 30, 400));
    wheel.advance(at(0, 0, 28, 0));
    let split = wheel.splits_owed().next().unwrap();
    assert!(wheel.begin_split(split));
    wheel.advance(at(0, 0, 30, 999));
    assert_eq!(wheel.finish_split(split, []), Drift::default());
    assert_eq!((wheel.pending(), next(&wheel)), (0, None));
    assert!(!wheel.begin_split(split), "there is nothing left to split");
}

/// The stored count of the minute under way includes what has fired in it; the recount leaves that out.
///
/// Turns red when `finish_split` keeps what has fired (make its last condition true).
#[test]
fn a_loaded_wheel_sorts_out_what_has_fired() {
    let rows = [at(9, 15, 10, 0), at(9, 15, 40, 500), at(9, 15, 40, 501), at(9, 15, 59, 0), at(11, 0, 0, 0)];
    let mut wheel = Wheel::new(at(9, 15, 40, 500));
    wheel.load_minute(gift(), at(9, 14, 0, 0), 1_000);
    wheel.load_minute(gift(), at(9, 15, 0, 0), 4);
    wheel.load_minute(gift(), at(11, 0, 0, 0), 1);
    let first = next(&wheel).unwrap();
    assert_eq!((first.at, first.exact), (at(9, 15, 40, 501), false));
    settle(&mut wheel, &rows);
    assert_eq!(wheel.pending(), 3);
    let first = next(&wheel).unwrap();
    assert_eq!((first.at, first.exact), (at(9, 15, 40, 501), true));
}

/// Counts that came apart from the rows are told and mended by the recount, also where a count went below zero.
#[test]
fn a_recount_mends_a_drift_and_tells() {
    let mut wheel = Wheel::new(at(0, 0, 0, 0));
    wheel.remove(gift(), at(0, 0, 30, 0));
    assert_eq!(wheel.pending(), 0);
    assert_eq!(next(&wheel).unwrap().at, at(0, 0, 30, 0), "not due later than the rows might say");
    wheel.advance(at(0, 0, 29, 0));
    let split = wheel.splits_owed().next().unwrap();
    assert!(wheel.begin_split(split));
    let drift = wheel.finish_split(split, [(gift(), at(0, 0, 30, 17), 2)]);
    assert_eq!(drift, Drift(vec![(gift(), 3)]));
    assert_eq!((wheel.pending(), next(&wheel).unwrap().at), (2, at(0, 0, 30, 17)));
}

/// Fires a year of triggers in one step, and looks at slots in use only.
#[test]
fn a_year_passes_at_once() {
    let mut wheel = Wheel::new(MIDNIGHT);
    for day in 1..=400 {
        wheel.insert(gift(), MIDNIGHT.after(Delay::from_days(day)));
    }
    wheel.insert(gift(), at(0, 0, 0, 1));
    wheel.insert(gift(), at(0, 59, 0, 0));
    let year = MIDNIGHT.after(Delay::from_days(365)).after(Delay::from_secs(3_600));
    assert_eq!(wheel.advance(year), 1, "tomorrow's trigger is within the next 24 hours");
    assert_eq!(wheel.pending(), 35);
    let next = next(&wheel).unwrap();
    assert_eq!((next.at, next.exact), (MIDNIGHT.after(Delay::from_days(366)), false));
}

/// Beyond any horizon a request is refused by the caller; the wheel itself has no bound to fall over.
#[test]
fn no_moment_is_too_far() {
    let mut wheel = Wheel::new(MIDNIGHT);
    let far = Timestamp::from_millis(u64::MAX - 1);
    wheel.insert(gift(), far);
    assert!(next(&wheel).unwrap().at <= far);
    wheel.advance(Timestamp::from_millis(u64::MAX - 2));
    settle(&mut wheel, &[far]);
    assert_eq!(next(&wheel).map(|next| (next.at, next.exact)), Some((far, true)));
    wheel.advance(far);
    assert_eq!(wheel.pending(), 0);
}

#[test]
#[should_panic(expected = "a trigger due at 1899936000000 ms has fired: the wheel is at 1899936000000 ms")]
fn what_has_fired_is_not_inserted() {
    Wheel::new(MIDNIGHT).insert(gift(), MIDNIGHT);
}

#[test]
#[should_panic(expected = "the wheel is at 1899936000000 ms and cannot go back to 1899935999999 ms")]
fn time_does_not_run_backwards() {
    Wheel::new(MIDNIGHT).advance(Timestamp::from_millis(MIDNIGHT.as_millis() - 1));
}

#[test]
#[should_panic(expected = "minute counts are loaded into a fresh wheel")]
fn a_wheel_in_use_is_not_loaded() {
    let mut wheel = Wheel::new(MIDNIGHT);
    wheel.insert(gift(), at(5, 0, 0, 0));
    wheel.load_minute(gift(), at(5, 0, 0, 0), 1);
}
