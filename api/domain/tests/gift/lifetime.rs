//! What time does to a gift that was sent.

use domain::Kind;
use domain::gift::{Expire, Redeem, Remind, State};
use domain::notification::News;
use domain::payment::RefundOutcome;
use domain::triggers::Purpose;

use crate::world::*;

fn clocks(world: &World) -> Vec<u64> {
    let of_clock = |id: &str| id.contains(".remind.") || id.contains(".expire.");
    world.live_ids().into_iter().filter(|(id, _)| of_clock(id)).map(|(_, due)| due).collect()
}

/// Red when reminders are all scheduled at once, or expiry does not follow the last.
#[test]
fn reminded_twice_then_expired_and_refunded_one_trigger_at_a_time() {
    let mut world = World::default();
    world.sent("g1");
    world.told();
    let expires_at = world.gift("g1").expires_at;
    for before in [3 * DAY, DAY] {
        assert_eq!(clocks(&world), [expires_at - before]);
        let work = world.wait_for(Purpose::Remind);
        world.run_internal(&work);
        assert_eq!(world.told(), [News::ExpiresSoon]);
    }
    assert_eq!(clocks(&world), [expires_at]);
    let work = world.wait_for(Purpose::Expire);
    world.run_internal(&work);
    assert_eq!((world.state("g1"), world.money()), (State::Expired, [0, PRICE as i64, 0, 0]));
    assert_eq!(clocks(&world), [0; 0]);
    world.refund("g1", RefundOutcome::Done);
    assert_eq!((world.state("g1"), world.told()), (State::Refunded, vec![News::Refunded]));
    assert_eq!(world.live_ids(), []);
}

#[test]
fn who_used_it_is_not_reminded() {
    let mut world = World::default();
    world.accepted("g1");
    let work = world.wait_for(Purpose::Remind);
    // Used between the moment and the node's command.
    let code = world.code("g1");
    world.ask(Kind::Redeem(Redeem { code, ..Redeem::default() })).expect("used");
    world.told();
    world.run_internal(&work);
    assert_eq!((world.told(), world.live_ids(), world.state("g1")), (vec![], vec![], State::Used));
}

/// Red when a reminder that is said again tells again, or schedules another chain.
#[test]
fn commands_of_time_that_come_early_or_twice_do_nothing() {
    let mut world = World::default();
    world.sent("g1");
    world.told();
    let expires_at = world.gift("g1").expires_at;
    let early = [Kind::Expire(Expire { gift: "g1".into() })]
        .into_iter()
        .chain([0, 1, 2, u32::MAX].map(|number| Kind::Remind(Remind { gift: "g1".into(), number })));
    for command in early {
        assert!(world.ask(command).expect("nothing").replayed);
        assert_eq!((clocks(&world), world.told()), (vec![expires_at - 3 * DAY], vec![]));
    }
    let work = world.wait_for(Purpose::Remind);
    world.run_internal(&work);
    assert_eq!(world.told(), [News::ExpiresSoon]);
    assert!(world.ask(Kind::Remind(Remind { gift: "g1".into(), number: 0 })).expect("nothing").replayed);
    assert_eq!((clocks(&world), world.told()), (vec![expires_at - DAY], vec![]));
}

/// Sent late, after a reminder was due: the next that is ahead.
#[test]
fn reminders_that_have_passed_are_left_out() {
    let mut world = World::default();
    let send_at = world.paid("g1");
    world.pass_to(send_at);
    let work = world.work(Purpose::Send);
    let begun = world.begin("g1", 1);
    world.pass(28 * DAY);
    world.done(&work, Some(sent("g1", 1, begun.channel)));
    assert_eq!(clocks(&world), [send_at + 29 * DAY]);
}

#[test]
fn a_clock_that_is_given_up_leaves_it_to_a_human_until_it_is_over() {
    let mut world = World::default();
    world.accepted("g1");
    world.all_die(Purpose::Remind);
    assert!(world.gift("g1").attention);
    let code = world.code("g1");
    world.ask(Kind::Redeem(Redeem { code, ..Redeem::default() })).expect("used");
    assert!(!world.gift("g1").attention, "nothing is left to be done");
}
