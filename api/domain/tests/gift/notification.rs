//! What is known about news, and what becomes of it.

use domain::gift::{Attempt, SendLater};
use domain::notification::{Channel, Fate, News, Told};
use domain::payment::Outcome;
use domain::triggers::{self, Purpose};
use domain::{Kind, Reply};
use scheduler::command::{Kind as Asked, Requeue};
use scheduler::reply::Reply as Answer;

use crate::world::*;

/// Red when news are kept in the gift, or a report of them saves it.
#[test]
fn what_was_told_is_known_and_the_gift_is_as_it_was() {
    let mut world = World::default();
    world.paid("g1");
    let gift = world.gift("g1");
    let known = world.notifications("g1").remove(0);
    assert_eq!((known.news(), known.fate(), known.since), (News::Reserved, Fate::Open, 0));
    assert_eq!((known.to.as_str(), known.at), ("K***", world.now));
    let ways: Vec<_> = known.ways.iter().map(|way| (way.channel(), way.address.as_str())).collect();
    let email = (Channel::Email, "m***@example.com");
    assert_eq!(ways, [(Channel::Push, ""), (Channel::Kakao, "***78"), (Channel::Sms, "***78"), email]);

    let work = world.notify();
    assert_eq!(work.id, triggers::id("g1", Purpose::Notify, known.number));
    world.now += SECOND;
    assert!(matches!(world.done(&work, Some(told(&work, Channel::Kakao as i32, true))), Answer::Decided(_)));
    let known = world.notifications("g1").remove(0);
    assert_eq!((known.fate(), known.since), (Fate::Told, world.now));
    assert_eq!((known.channel(), known.provider_id.as_str()), (Channel::Kakao, "m-1"));
    assert_eq!(world.gift("g1"), gift, "news never change a gift");
}

/// Red when a dead letter is not noted, or one that was tried again and told still counts as dead.
#[test]
fn what_nobody_could_tell_is_dead_until_it_is_tried_again() {
    let mut world = World::default();
    world.paid("g1");
    let (gift, work) = (world.gift("g1"), world.notify());
    world.failed(&work);
    let known = world.notifications("g1").remove(0);
    assert_eq!((known.fate(), known.since), (Fate::Dead, world.now));
    assert_eq!(world.gift("g1"), gift);

    let requeue = Requeue { namespace: SHOP.into(), id: work.id.clone(), ..Requeue::default() };
    assert!(matches!(world.entry(vec![Asked::Requeue(requeue)])[0], Answer::Moved(_)));
    let again = world.notify();
    assert_ne!(again.generation, work.generation);
    world.done(&again, Some(told(&again, Channel::Sms as i32, true)));
    assert_eq!(world.notifications("g1")[0].fate(), Fate::Told);
}

/// Red when a report that came twice, or too late, changes what is known.
#[test]
fn what_was_told_stays_told() {
    let mut world = World::default();
    world.paid("g1");
    let work = world.notify();
    let Kind::Told(report) = told(&work, Channel::Sms as i32, true) else { unreachable!("as made") };
    assert!(!world.ask(Kind::Told(report.clone())).expect("noted").replayed);
    let known = world.notifications("g1");
    world.now += SECOND;
    for other in [
        report.clone(),
        Told { channel: Channel::Email.into(), provider_id: "m-2".into(), ..report.clone() },
        Told { moot: true, ..report.clone() },
        Told { number: 1, ..report.clone() },
        Told { gift: "nobody's".into(), ..report },
    ] {
        let reply = world.ask(Kind::Told(other)).expect("nothing to do");
        assert!(reply.replayed && reply.gift.is_none(), "{:?}", Reply { gift: None, ..reply });
        assert_eq!(world.notifications("g1"), known);
    }
}

#[test]
fn executors_that_say_nothing_are_understood() {
    let mut world = World::default();
    world.paid("g1");
    assert_eq!(world.told(), [News::Reserved]);
    assert_eq!(world.notifications("g1")[0].fate(), Fate::Open, "its trigger says that it is done");
}

/// The sender was answered PENDING_PAYMENT: now it is decided.
///
/// Red when nobody is told, or whoever was answered at once is told a second time.
#[test]
fn a_payment_that_is_declined_later_is_told() {
    let mut world = World::default();
    world.reserved("g1");
    world.provider(Purpose::Pay, Outcome::Declined, 0);
    assert_eq!(world.told(), [], "the answer to the reservation says so");

    world.reserved("g2");
    world.provider(Purpose::Pay, Outcome::Unknown, 0);
    world.provider(Purpose::Query, Outcome::Declined, 0);
    assert_eq!(world.news()[0].to.clone().map(|to| to.id), Some("kim".into()));
    assert_eq!(world.told(), [News::Declined]);

    world.reserved("g3");
    world.pass(MINUTE);
    world.provider(Purpose::Pay, Outcome::Declined, 0);
    assert_eq!(world.told(), [News::Declined], "whoever reserved it was answered before");

    world.reserved("g4");
    world.provider(Purpose::Pay, Outcome::Unknown, 0);
    world.provider(Purpose::Query, Outcome::Captured, PRICE - 1);
    assert_eq!(world.told(), [], "the money goes back, and that is told");
}

/// A gift that is withdrawn leaves no news.
#[test]
fn a_withdrawn_gift_leaves_no_news() {
    let mut world = World::default();
    world.reserved("g1");
    world.provider(Purpose::Pay, Outcome::NotReached, 0);
    assert!(!world.is_there("g1") && world.notifications("g1").is_empty());
}

#[test]
fn operators_are_told_without_an_address() {
    let mut world = World::default();
    let send_at = world.paid("g1");
    world.told();
    world.pass_to(send_at);
    let work = world.work(Purpose::Send);
    world.begin("g1", 1);
    let later = SendLater { gift: "g1".into(), round: 1, ..SendLater::default() };
    world.done(&work, Some(Kind::SendLater(later)));
    let work = world.wait_for(Purpose::Send);
    let rejected = [Channel::Kakao, Channel::Sms, Channel::Email]
        .map(|channel| Attempt { channel: channel.into(), ..Attempt::default() });
    let command = domain::gift::BeginSend { rejected: rejected.to_vec(), ..world.begin_send("g1", work.round()) };
    assert!(world.ask(Kind::BeginSend(command)).expect("over").turn.expect("a turn").over);
    world.refund("g1", domain::payment::RefundOutcome::Refused);
    let known = world.notifications("g1");
    let attention = known.iter().find(|one| one.news() == News::Attention).expect("operators are told");
    assert_eq!((attention.to.as_str(), attention.ways.len()), ("", 1));
    assert_eq!((attention.ways[0].channel(), attention.ways[0].address.as_str()), (Channel::Operator, ""));
}
