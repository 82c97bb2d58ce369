//! Sending: turns, channels, retries, outages, crashes, and not knowing.

use domain::gift::{Attempt, BeginSend, Edit, Found, Party, ResolveSend, SendLater, SendUnknown, State};
use domain::notification::{Channel, News};
use domain::payment::RefundOutcome;
use domain::triggers::Purpose;
use domain::{Kind, Reason};
use scheduler::reply::Reply as Answer;

use crate::world::*;

fn later(round: u32, outage: bool, after_ms: u64) -> Kind {
    Kind::SendLater(SendLater { gift: "g1".into(), round, error: "503".into(), outage, after_ms })
}

fn unknown(round: u32) -> Kind {
    Kind::SendUnknown(SendUnknown { gift: "g1".into(), round, error: "cut off".into() })
}

fn resolve(found: Found, by: &str) -> Kind {
    Kind::ResolveSend(ResolveSend { gift: "g1".into(), found: found.into(), provider_id: "m-9".into(), by: by.into() })
}

fn refused(channel: Channel) -> Attempt {
    Attempt { channel: channel.into(), error: "not a user".into(), ..Attempt::default() }
}

/// Paid, and its moment has come.
fn due() -> World {
    let mut world = World::default();
    let send_at = world.paid("g1");
    world.told();
    world.pass_to(send_at);
    world
}

#[test]
fn channels_are_tried_in_order_until_one_takes_it() {
    let mut world = due();
    let work = world.work(Purpose::Send);
    let mut tried = vec![];
    let mut rejected = vec![];
    for _ in 0..3 {
        let command = BeginSend { rejected: rejected.clone(), ..world.begin_send("g1", 1) };
        let turn = world.ask(Kind::BeginSend(command)).expect("a turn").turn.expect("a turn");
        assert!(!turn.resumed && !turn.over, "{turn:?}");
        tried.push(turn.channel());
        rejected = vec![refused(turn.channel())];
    }
    assert_eq!(tried, [Channel::Kakao, Channel::Sms, Channel::Email]);
    world.done(&work, Some(sent("g1", 1, Channel::Email.into())));
    let sending = world.gift("g1").sending.expect("sent");
    assert_eq!((sending.rejected.len(), sending.sent.expect("sent").channel()), (2, Channel::Email));
    assert_eq!((world.state("g1"), world.told()), (State::Sent, vec![News::Sent]));
}

#[test]
fn when_every_channel_refuses_it_failed_and_the_money_goes_back() {
    let mut world = due();
    let work = world.work(Purpose::Send);
    world.begin("g1", 1);
    let rejected = [Channel::Kakao, Channel::Sms, Channel::Email].map(refused).to_vec();
    let command = BeginSend { rejected, ..world.begin_send("g1", 1) };
    assert!(world.ask(Kind::BeginSend(command)).expect("over").turn.expect("a turn").over);
    world.done(&work, None);
    assert_eq!((world.state("g1"), world.told()), (State::Failed, vec![News::Failed]));
    world.refund("g1", RefundOutcome::Done);
    assert_eq!((world.state("g1"), world.money()), (State::Refunded, [0, 0, 0, PRICE as i64]));
}

/// Red when the list of channels that refuse takes whatever it is told.
#[test]
fn channels_that_the_recipient_does_not_have_are_not_kept() {
    let mut world = due();
    for channel in [-1, 0, 4, 5, 99, i32::MAX] {
        let rejected = vec![Attempt { channel, ..Attempt::default() }];
        let command = BeginSend { rejected, ..world.begin_send("g1", 1) };
        world.ask(Kind::BeginSend(command)).expect("a turn");
    }
    assert_eq!(world.gift("g1").sending.expect("begun").rejected, []);
}

#[test]
fn whom_no_channel_reaches_the_sender_passes_the_link_on() {
    let mut world = World::default();
    let send_at = world.paid("g1");
    let recipient = Some(Party { name: "?".into(), ..Party::default() });
    world.ask(Kind::Edit(Edit { gift: "g1".into(), recipient, ..Edit::default() })).expect("changed");
    world.told();
    world.pass_to(send_at);
    let work = world.work(Purpose::Send);
    let turn = world.begin("g1", 1);
    assert_eq!(turn.channel(), Channel::Unspecified);
    world.done(&work, Some(sent("g1", 1, turn.channel)));
    assert_eq!((world.state("g1"), world.told()), (State::Sent, vec![News::PassOn]));
}

/// Red when a pause does not grow, a fourth retry is made, or the sender is not told.
#[test]
fn three_retries_with_growing_pauses_then_failed_and_refunded() {
    let mut world = due();
    let mut pauses = vec![];
    for round in 1..=4 {
        let before = world.now;
        let work = world.wait_for(Purpose::Send);
        pauses.push((world.now - before) / SECOND);
        assert_eq!(work.round(), round);
        assert!(!world.begin("g1", round).resumed, "a new round begins anew");
        world.done(&work, Some(later(round, false, 0)));
    }
    assert_eq!(pauses, [0, 5, 20, 80]);
    assert_eq!((world.state("g1"), world.told()), (State::Failed, vec![News::Failed]));
    assert_eq!(world.gift("g1").trouble, "503");
    world.refund("g1", RefundOutcome::Done);
    assert_eq!(world.state("g1"), State::Refunded);
}

/// A gift waits a day for a provider that is down, and all the while its history stays.
///
/// Red when rounds of an outage count, or each is an event.
#[test]
fn an_outage_is_waited_out_for_a_day_and_does_not_count() {
    for ends in [true, false] {
        let mut world = due();
        let begin = world.now;
        let mut round = 0;
        while world.now - begin < 24 * HOUR {
            round += 1;
            let work = world.wait_for(Purpose::Send);
            world.begin("g1", round);
            world.done(&work, Some(later(round, true, 30 * MINUTE)));
        }
        assert_eq!((world.state("g1"), round), (State::Sending, 49));
        assert_eq!(world.gift("g1").sending.expect("begun").failures, 0);
        assert_eq!(world.gift("g1").events.len(), 4, "an outage is one event");
        let work = world.wait_for(Purpose::Send);
        world.begin("g1", work.round());
        let outcome = if ends { sent("g1", work.round(), 1) } else { later(work.round(), true, 0) };
        world.done(&work, Some(outcome));
        assert_eq!(world.state("g1"), if ends { State::Sent } else { State::Failed });
        // It is valid for as long as if it had not had to wait.
        let valid = world.gift("g1").expires_at - world.now;
        assert!(!ends || valid == 30 * DAY, "{valid}");
    }
}

#[test]
fn a_provider_that_says_when_is_not_asked_before() {
    for (after_ms, pause) in [(0, 5 * SECOND), (MINUTE, MINUTE), (u64::MAX, HOUR)] {
        let mut world = due();
        let work = world.work(Purpose::Send);
        world.begin("g1", 1);
        world.done(&work, Some(later(1, false, after_ms)));
        let begin = world.now;
        world.wait_for(Purpose::Send);
        assert_eq!(world.now - begin, pause);
    }
}

/// The executor dies between its turn and its report: the next one is told, and gets the same code.
///
/// Red when `begin_send` takes what is drawn for every turn, or forgets the attempt.
#[test]
fn a_crash_between_turn_and_report_issues_no_second_code() {
    let mut world = due();
    let work = world.work(Purpose::Send);
    let (begun, code) = (world.begin("g1", 1).begun_at, world.code("g1"));
    world.died(&work);
    let work = world.wait_for(Purpose::Send);
    assert_eq!(work.attempt, 2);
    let turn = world.begin("g1", work.round());
    assert!(turn.resumed && turn.begun_at == begun && turn.channel() == Channel::Kakao, "{turn:?}");
    assert_eq!(world.code("g1"), code);
    world.done(&work, Some(sent("g1", 1, turn.channel)));
    // Both come back: the one that was late changes nothing, and whoever asks for a turn gets none.
    assert!(world.begin("g1", 1).over);
    assert!(world.ask(sent("g1", 1, Channel::Sms.into())).expect("a repetition").replayed);
    assert!(world.ask(later(1, false, 0)).expect("a repetition").replayed);
    assert_eq!(world.gift("g1").sending.expect("sent").sent.expect("sent").channel(), Channel::Kakao);
}

/// Red when reports of an earlier round count.
#[test]
fn reports_of_an_earlier_round_change_nothing() {
    let mut world = due();
    let work = world.work(Purpose::Send);
    world.begin("g1", 1);
    world.done(&work, Some(later(1, false, 0)));
    world.begin("g1", 2);
    for report in [sent("g1", 1, 1), later(1, false, 0), unknown(1)] {
        assert!(world.ask(report).expect("nothing").replayed);
    }
    assert!(world.begin("g1", 1).over);
    assert_eq!((world.state("g1"), world.gift("g1").sending.expect("begun").round), (State::Sending, 2));
}

#[test]
fn unknown_is_asked_about_after_a_minute_and_found() {
    for (found, by, state) in [
        (Found::Sent, "provider", State::Sent),
        (Found::NotSent, "provider", State::Failed),
        (Found::Sent, "lee", State::Sent),
        (Found::NotSent, "lee", State::Failed),
    ] {
        let mut world = due();
        let work = world.work(Purpose::Send);
        world.begin("g1", 1);
        world.done(&work, Some(unknown(1)));
        assert_eq!((world.state("g1"), world.money()), (State::SendUnknown, [0, PRICE as i64, 0, 0]));
        let begin = world.now;
        let work = world.wait_for(Purpose::Find);
        assert_eq!((world.now - begin, work.round()), (MINUTE, 1));
        if by == "provider" {
            world.done(&work, Some(resolve(found, by)));
        } else {
            world.done(&work, Some(resolve(Found::Nothing, "provider")));
            assert_eq!((world.gift("g1").attention, world.told()), (true, vec![News::Attention]));
            world.ask(resolve(found, by)).expect("a human found out");
        }
        assert_eq!((world.state("g1"), world.gift("g1").attention), (state, false));
        let refusal = world.ask(resolve(Found::Sent, "lee")).expect_err("known by now");
        assert_eq!((refusal.reason(), refusal.state(), refusal.wanted()), (Reason::WrongState, state, State::Sent));
        assert!(world.ask(resolve(Found::Sent, "provider")).expect("a repetition").replayed);
    }
}

/// Red when what was never begun counts as sent: then nobody has a link, and the money is gone.
#[test]
fn what_was_not_begun_was_not_sent() {
    let mut world = due();
    let work = world.work(Purpose::Send);
    world.begin("g1", 1);
    world.done(&work, Some(later(1, false, 0)));
    for report in [sent("g1", 2, 1), unknown(2)] {
        let refusal = world.ask(report).expect_err("not begun");
        assert_eq!((refusal.reason(), refusal.field.as_str()), (Reason::Invalid, "round"));
    }
}

/// Red when `begin_send` does not look at the moment or the round: a gift arrives early, or its round is nobody's.
#[test]
fn a_turn_is_given_when_it_is_due_and_in_the_round_that_is_told() {
    let mut world = World::default();
    let send_at = world.paid("g1");
    let command = world.begin_send("g1", 1);
    let refusal = world.ask(Kind::BeginSend(command)).expect_err("early");
    assert_eq!((refusal.reason(), refusal.field.as_str()), (Reason::Invalid, "gift"));
    world.pass_to(send_at);
    for round in [0, 2, u32::MAX] {
        let command = world.begin_send("g1", round);
        assert_eq!(world.ask(Kind::BeginSend(command)).expect_err("no such round").field, "round");
    }
    let good = world.begin_send("g1", 1);
    for (field, command) in [
        ("draw", BeginSend { draw: None, ..good.clone() }),
        ("expires_at", BeginSend { expires_at: world.now, remind_at: vec![], ..good.clone() }),
        ("expires_at", BeginSend { expires_at: u64::MAX, ..good.clone() }),
        ("expires_at", BeginSend { expires_at: world.now + 3_653 * DAY, ..good.clone() }),
        ("expires_at", BeginSend { remind_at: vec![good.expires_at], ..good.clone() }),
        ("expires_at", BeginSend { remind_at: vec![2, 1], ..good.clone() }),
        ("expires_at", BeginSend { remind_at: vec![1; 9], ..good.clone() }),
    ] {
        let refusal = world.ask(Kind::BeginSend(command)).expect_err("out of range");
        assert_eq!((refusal.reason(), refusal.field.as_str()), (Reason::Invalid, field));
    }
    // The longest validity there is can be scheduled.
    let longest = BeginSend { expires_at: world.now + 3_652 * DAY, remind_at: vec![], ..good };
    world.ask(Kind::BeginSend(longest)).expect("a turn");
    let work = world.work(Purpose::Send);
    assert!(matches!(world.done(&work, Some(sent("g1", 1, 1))), Answer::Decided(_)));
    assert_eq!(world.state("g1"), State::Sent);
}

#[test]
fn a_code_that_is_taken_is_drawn_again() {
    let mut world = World::default();
    world.sent("g0");
    let send_at = world.paid("g1");
    world.pass_to(send_at);
    let taken = BeginSend { draw: world.gift("g0").draw, ..world.begin_send("g1", 1) };
    let refusal = world.ask(Kind::BeginSend(taken)).expect_err("taken");
    assert_eq!(refusal.reason(), Reason::Collision);
    assert_eq!(world.state("g1"), State::Reserved);
    assert!(!world.begin("g1", 1).over);
}

#[test]
fn executors_that_die_over_a_gift() {
    // Before any turn, with a turn begun, and after it was given back.
    for (begun, state) in [(false, State::Failed), (true, State::SendUnknown)] {
        let mut world = due();
        if begun {
            world.begin("g1", 1);
        }
        world.all_die(Purpose::Send);
        assert_eq!(world.state("g1"), state);
        if begun {
            world.all_die(Purpose::Find);
            assert!(world.gift("g1").attention);
        } else {
            assert_eq!(world.told(), [News::Failed]);
            world.refund("g1", RefundOutcome::Done);
        }
    }
    let mut world = due();
    let work = world.work(Purpose::Send);
    world.begin("g1", 1);
    world.done(&work, Some(later(1, false, 0)));
    world.all_die(Purpose::Send);
    assert_eq!(world.state("g1"), State::Failed, "certainly not sent");
}

/// News are retried and given up on their own.
#[test]
fn news_that_nobody_can_deliver_change_nothing() {
    let mut world = World::default();
    world.paid("g1");
    let before = world.gift("g1");
    let work = world.all_fired().into_iter().find(|work| work.purpose() == Purpose::Notify).expect("news");
    world.failed(&work);
    assert_eq!(world.gift("g1"), before);
}

/// A full entry has no room for what the dead letters make necessary: nothing halts, nothing is stuck, a human is told.
///
/// Red when `dead_lettered` schedules by the rules of commands: then this entry halts every replica.
#[test]
fn a_full_entry_of_dead_letters_does_not_halt() {
    let mut world = due();
    world.reserved("g2");
    let works: Vec<Work> = world.fired();
    assert_eq!(works.len(), 2, "a payment and a sending");
    let mut entry: Vec<_> = works.iter().map(fail).collect();
    let filler = scheduler::command::Kind::Cancel(scheduler::command::Cancel::default());
    entry.resize(scheduler::lane::Generation::COMMANDS_PER_ENTRY_MAX, filler);
    let answers = world.entry(entry);
    assert!(answers[..2].iter().all(|answer| matches!(answer, Answer::Decided(_))), "{:?}", &answers[..2]);
    assert_eq!((world.state("g1"), world.gift("g1").attention), (State::Failed, true));
    assert_eq!((world.state("g2"), world.gift("g2").attention), (State::PendingPayment, true));
    world.ask(settle_refund("g1", RefundOutcome::Done)).expect("done by hand");
    assert_eq!(world.state("g1"), State::Refunded);
}

/// A command that a full entry has no room for says so, and leaves nothing.
#[test]
fn a_full_entry_has_no_room_for_a_reservation() {
    let mut world = World::default();
    let mut entry = vec![business(Kind::Reserve(world.reserve("g1")))];
    let filler = scheduler::command::Kind::Cancel(scheduler::command::Cancel::default());
    entry.resize(scheduler::lane::Generation::COMMANDS_PER_ENTRY_MAX, filler);
    let Answer::Refused(scheduler::reply::Refusal::Business(body)) = world.entry(entry).remove(0) else {
        panic!("not refused")
    };
    let refusal: domain::Refusal = prost::Message::decode(body).expect("a refusal");
    assert_eq!((refusal.reason(), refusal.field.as_str()), (Reason::NoRoom, "trigger"));
    world.reserved("g1");
}
