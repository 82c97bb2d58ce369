//! Any commands in any order, sensible and not, beside executors that work, report twice, die and give up; after every entry the
//! invariants hold.

use bytes::Bytes;
use domain::gift::{
    Accept, Attempt, BeginSend, Cancel, Edit, Expire, Found, Party, Redeem, Remind, ResolveSend, SendLater,
    SendUnknown, State, Transfer,
};
use domain::ledger::{Report, report};
use domain::notification::Told;
use domain::payment::{Outcome, RefundOutcome};
use domain::triggers::{INTERNAL, Purpose};
use domain::{Domains, Kind, Reason};
use proptest::prelude::*;
use scheduler::machine::Machine;
use scheduler::memory::MemoryStore;
use scheduler::overlay::Overlay;
use scheduler::read;
use scheduler::reply::{Refusal as Refused, Reply as Answer};
use scheduler::time::Timestamp;

use crate::world::*;

/// Dice of one step.
#[derive(Clone, Debug)]
struct Step {
    what: u8,
    gift: u8,
    number: u8,
    dice: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (any::<u8>(), 0_u8..4, 0_u8..4, any::<u64>());
    prop::collection::vec(step.prop_map(|(what, gift, number, dice)| Step { what, gift, number, dice }), 1..120)
}

fn id(number: u8) -> String {
    format!("g{number}")
}

/// What a business command says of the dice; much of it nonsense.
fn command(world: &mut World, step: &Step) -> Kind {
    let gift = id(step.gift);
    let found = domain::gift::get(&world.store, SHOP, &gift).expect("read");
    let own = |pick: fn(&domain::gift::Draw) -> Option<Bytes>| {
        let draw = found.as_ref().and_then(|gift| gift.draw.as_ref());
        draw.and_then(pick).unwrap_or_else(|| Bytes::copy_from_slice(&step.dice.to_be_bytes()))
    };
    let link = own(|draw| draw.link.as_ref().map(|secret| secret.hash.clone()));
    let code = own(|draw| draw.code.as_ref().map(|secret| secret.hash.clone()));
    let request = match step.number {
        0 => Bytes::new(),
        3 => Bytes::from_static(b"odd"),
        number => request(number),
    };
    let current = found.as_ref().and_then(|gift| gift.sending.as_ref()).map_or(1, |sending| sending.round);
    let round = if step.number == 3 { step.dice as u32 } else { current };
    let channel = (step.dice % 7) as i32 - 1;
    let expected_version = if step.number == 2 {
        step.dice
    } else {
        found.as_ref().map_or(0, |gift| gift.version * u64::from(step.number == 1))
    };
    let odd_time = [0, world.now, world.now + 11 * MINUTE, world.now + DAY, u64::MAX][(step.dice % 5) as usize];
    match (step.dice >> 8) % 19 {
        0 | 1 => {
            let mut command = world.reserve(&gift);
            command.send_at = world.now + 11 * MINUTE + (step.dice >> 16) % (2 * HOUR);
            if step.number == 3 {
                command.send_at = odd_time;
                command.fingerprint = step.dice;
            }
            Kind::Reserve(command)
        }
        2 => {
            let won = [PRICE, PRICE, 0, PRICE + 1, u64::MAX][(step.dice >> 40) as usize % 5];
            let outcome = Outcome::try_from((step.dice >> 20) as i32 % 6).unwrap_or_default();
            settle(&gift, outcome, won)
        }
        3 => settle_refund(&gift, RefundOutcome::try_from((step.dice >> 20) as i32 % 4).unwrap_or_default()),
        4 => Kind::Edit(Edit {
            gift,
            request,
            expected_version,
            recipient: (step.dice & 1 == 0).then(|| Party { phone: "+821000000000".into(), ..Party::default() }),
            message: (step.dice & 2 == 0).then(|| "안녕".repeat((step.dice >> 50) as usize % 300)),
            send_at: if step.dice & 4 == 0 { 0 } else { odd_time },
            ..Edit::default()
        }),
        5 => Kind::Cancel(Cancel { gift, request, expected_version, sender: "kim".into() }),
        6 | 7 => {
            let odd = step.number == 3;
            let mut command = BeginSend { round, ..world.begin_send(&gift, 1) };
            if odd {
                command.expires_at = odd_time;
            }
            if step.dice & 1 == 1 {
                command.rejected = vec![Attempt { channel, ..Attempt::default() }];
            }
            Kind::BeginSend(command)
        }
        8 => sent(&gift, round, channel),
        9 => {
            let (outage, after_ms) = (step.dice & 1 == 0, step.dice >> 30);
            Kind::SendLater(SendLater { gift, round, error: "later".into(), outage, after_ms })
        }
        10 => Kind::SendUnknown(SendUnknown { gift, round, error: "?".into() }),
        11 => {
            let by = if step.dice & 1 == 0 { "provider" } else { "lee" };
            Kind::ResolveSend(ResolveSend {
                gift,
                found: (step.dice >> 20) as i32 % 4,
                provider_id: String::new(),
                by: by.into(),
            })
        }
        12 => Kind::Accept(Accept { link, request }),
        13 => {
            let draw = if step.dice & 1 == 0 { Some(world.draw()) } else { Some(draw(step.dice >> 60)) };
            let to = Some(friend()).filter(|_| step.dice & 2 == 0);
            Kind::Transfer(Transfer { link, request, to, draw })
        }
        14 | 15 => {
            Kind::Redeem(Redeem { code, request, shop: "s".repeat(step.dice as usize % 100), ..Redeem::default() })
        }
        16 => Kind::Remind(Remind { gift, number: (step.dice >> 20) as u32 % 4 }),
        17 => {
            let kept = domain::notification::list(&world.store, SHOP, &gift).expect("read");
            let picked = kept.get((step.dice >> 20) as usize % 8).map_or(step.dice, |one| one.number);
            let moot = step.dice & 1 == 0;
            let provider_id = if moot { String::new() } else { "m".repeat(step.dice as usize % 200) };
            Kind::Told(Told { gift, number: picked, channel, provider_id, moot })
        }
        _ => Kind::Expire(Expire { gift }),
    }
}

/// What somebody who has got a trigger does: well, badly, or not at all.
fn work(world: &mut World, step: &Step) {
    let fired = world.all_fired();
    if fired.is_empty() {
        return;
    }
    let work = fired[step.dice as usize % fired.len()].clone();
    let gift = domain::triggers::parse(&work.id).expect("a trigger of a gift").gift;
    match (step.dice >> 20) % 12 {
        0 | 1 => drop(world.died(&work)),
        2 => drop(world.failed(&work)),
        _ if work.topic == INTERNAL => drop(world.run_internal(&work)),
        luck => {
            let fine = luck > 5;
            let report = match work.purpose() {
                Purpose::Pay if luck == 3 => Some(settle(&gift, Outcome::NotReached, 0)),
                Purpose::Pay | Purpose::Query if fine => Some(settle(&gift, Outcome::Captured, PRICE)),
                Purpose::Pay | Purpose::Query if luck == 4 => Some(settle(&gift, Outcome::Declined, 0)),
                Purpose::Pay | Purpose::Query => Some(settle(&gift, Outcome::Unknown, 0)),
                Purpose::Refund if fine => Some(settle_refund(&gift, RefundOutcome::Done)),
                Purpose::Refund => Some(settle_refund(&gift, RefundOutcome::Refused)),
                Purpose::Find => {
                    let found =
                        if fine { Found::Sent } else { Found::try_from(luck as i32 % 3).unwrap_or(Found::Nothing) };
                    let by = "provider".into();
                    Some(Kind::ResolveSend(ResolveSend { gift, found: found.into(), provider_id: "m".into(), by }))
                }
                Purpose::Send => {
                    let round = work.round();
                    let command = world.begin_send(&gift, round);
                    let turn = match world.ask(Kind::BeginSend(command)) {
                        Ok(reply) => reply.turn.expect("a turn"),
                        Err(_) => return,
                    };
                    match luck {
                        _ if turn.over => None,
                        // It dies with the turn begun.
                        3 => return,
                        4 => Some(Kind::SendUnknown(SendUnknown { gift, round, error: "cut off".into() })),
                        5 | 6 => {
                            Some(Kind::SendLater(SendLater { gift, round, outage: luck == 5, ..SendLater::default() }))
                        }
                        _ => Some(sent(&gift, round, turn.channel)),
                    }
                }
                Purpose::Notify if luck == 3 => None,
                Purpose::Notify => Some(told(&work, luck as i32, fine)),
                Purpose::Remind | Purpose::Expire => unreachable!("internal"),
            };
            world.done(&work, report);
        }
    }
}

fn domains(store: &MemoryStore) -> Vec<(Vec<u8>, Bytes)> {
    let own = store.rows().iter().filter(|(key, _)| key[0] >= 0x80);
    own.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn run(steps: &[Step]) -> World {
    let mut world = World::default();
    let mut reports: Vec<(u64, Report)> = Vec::new();
    for step in steps {
        match step.what {
            0..90 => {
                let before = domains(&world.store);
                let asked = command(&mut world, step);
                if let Err(refusal) = world.ask(asked) {
                    assert_eq!(domains(&world.store), before, "refused, and something is left: {refusal}");
                    assert!(!refusal.field.is_empty() || refusal.state != 0 || refusal.version != 0, "{refusal:?}");
                }
            }
            90..200 => work(&mut world, step),
            200..220 => {
                // Several in one entry, so that they see each other.
                let commands = (0..3_u64).map(|part| {
                    let dice = step.dice.rotate_left(17 * part as u32);
                    let step = Step { dice, ..step.clone() };
                    business(command(&mut world, &step))
                });
                let commands = commands.collect();
                world.entry(commands);
            }
            220..235 => world.pass(step.dice % (2 * HOUR)),
            _ => {
                let due = world.live().into_iter().map(|view| view.retry_at.unwrap_or(view.due).as_millis());
                let next = due.filter(|due| *due > world.now).min().unwrap_or(world.now + MINUTE);
                world.pass_to(next);
            }
        }
        if step.dice % 8 == 0 {
            reports.push((world.now, world.report()));
            world.pass(1);
        }
    }
    for (as_of, then) in reports {
        let again = report(&world.store, SHOP, Timestamp::from_millis(as_of)).expect("read");
        assert_eq!(again, then, "the report as of {as_of} has changed");
    }
    world
}

/// The same log on a replica that restarts in the middle of it.
fn replayed(log: &[Bytes]) -> MemoryStore {
    let mut store = MemoryStore::default();
    let mut machine = Machine::new(Domains);
    for (place, entry) in log.iter().enumerate() {
        if place == log.len() / 2 {
            machine = Machine::open(Domains, &store).expect("opened");
        }
        let mut overlay = Overlay::new(&store);
        machine.apply(place as u64 + 1, entry.clone(), &mut overlay).expect("applied");
        let writes = overlay.into_writes();
        store.write(writes);
    }
    store
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Red when any invariant is broken by any of this; see `invariants.rs`.
    #[test]
    fn anything_in_any_order(steps in steps()) {
        let world = run(&steps);
        prop_assert_eq!(read::digest(&replayed(&world.log)).expect("read"), read::digest(&world.store).expect("read"));
    }

    /// Executors and the node do their work, and nothing else happens: every gift comes to an end of its own, the money with it.
    ///
    /// Red when a trigger is forgotten on some way.
    #[test]
    fn left_alone_every_gift_comes_to_an_end(steps in steps(), luck: u64) {
        let mut world = run(&steps);
        let mut dice = luck;
        for _ in 0..4_000 {
            let fired = world.all_fired();
            let Some(work) = fired.first().cloned() else {
                let due = world.live().into_iter().map(|view| view.retry_at.unwrap_or(view.due).as_millis());
                let Some(next) = due.filter(|due| *due > world.now).min() else { break };
                world.pass_to(next);
                continue;
            };
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            finish(&mut world, &work, dice >> 33);
        }
        prop_assert_eq!(world.live_ids(), vec![]);
        for gift in crate::invariants::gifts(&world.store).into_values() {
            let over = matches!(gift.state(), State::Used | State::Refunded | State::Failed);
            prop_assert!(over || gift.attention, "{:?}", gift);
        }
    }

    /// Red when apply panics or halts over what a field says.
    #[test]
    fn any_fields_are_applied_or_refused(
        steps in prop::collection::vec((any::<u8>(), any::<u64>(), any::<i32>(), any::<u32>(), "\\PC{0,12}", prop::collection::vec(any::<u8>(), 0..70)), 1..12)
    ) {
        let mut world = World::default();
        world.sent("g1");
        for (what, number, choice, short, text, bytes) in steps {
            let (bytes, gift) = (Bytes::from(bytes), if short % 2 == 0 { "g1".to_owned() } else { text.clone() });
            let party = Some(Party { id: text.clone(), name: text.repeat(9), phone: text.clone(), zone: text.clone(), ..Party::default() });
            let attempt = Attempt { channel: choice, at: number, provider_id: text.repeat(50), error: text.repeat(99) };
            let secret = Some(domain::gift::Secret { hash: bytes.clone(), sealed: bytes.clone() });
            let draw = Some(domain::gift::Draw { link: secret.clone(), code: secret });
            let asked = match what % 13 {
                0 => Kind::Reserve(domain::gift::Reserve { gift, sender: party.clone(), recipient: party, send_at: number, ..world.reserve("x") }),
                1 => Kind::BeginSend(BeginSend { gift, round: short, rejected: vec![attempt; 3], draw, expires_at: number, remind_at: vec![number; (short % 20) as usize] }),
                2 => Kind::SendLater(SendLater { gift, round: short, error: text, outage: short % 3 == 0, after_ms: number }),
                3 => Kind::Transfer(Transfer { link: if short % 2 == 0 { world.link("g1") } else { bytes.clone() }, request: bytes, to: party, draw }),
                4 => Kind::Redeem(Redeem { code: bytes.clone(), request: bytes, shop: text.clone(), terminal: text }),
                5 => Kind::Remind(Remind { gift, number: short }),
                6 => Kind::Expire(Expire { gift }),
                7 => Kind::Edit(Edit { gift, request: bytes, expected_version: number, recipient: party, message: Some(text), send_at: number, ..Edit::default() }),
                8 => Kind::SettlePayment(domain::payment::Settle { payment: gift, outcome: choice, captured_won: number, method: text.repeat(20), error: text }),
                9 => Kind::ResolveSend(ResolveSend { gift, found: choice, provider_id: text.clone(), by: text }),
                12 => Kind::Told(Told { gift, number, channel: choice, provider_id: text.repeat(40), moot: short % 3 == 0 }),
                10 => Kind::Sent(domain::gift::Sent { gift, round: short, channel: choice, provider_id: text.repeat(40) }),
                _ => Kind::SettleRefund(domain::payment::SettleRefund { payment: gift, outcome: choice, error: text }),
            };
            let answer = world.entry(vec![business(asked)]).remove(0);
            let fine = matches!(answer, Answer::Business(_) | Answer::Refused(Refused::Business(_)));
            prop_assert!(fine, "{:?}", answer);
        }
    }
}

/// The runs are not empty: they come to every state, to dead letters, to humans, and to transfers. The same runs every time.
///
/// Red when steps become so much nonsense that little is applied.
#[test]
fn random_runs_come_everywhere() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    let (mut attention, mut transferred) = (0, 0);
    for _ in 0..400 {
        let steps = steps().new_tree(&mut runner).expect("steps").current();
        for gift in crate::invariants::gifts(&run(&steps).store).into_values() {
            seen.extend(gift.events.iter().map(|event| event.state()));
            attention += usize::from(gift.attention);
            transferred += usize::from(gift.transferred);
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), State::ALL);
    assert!(attention > 5 && transferred > 0, "{attention} wait for a human, {transferred} were passed on");
}

/// A trigger is done, as executors do it when they live; what they hear is left to the dice.
fn finish(world: &mut World, work: &Work, dice: u64) {
    let gift = domain::triggers::parse(&work.id).expect("a trigger of a gift").gift;
    let report = match work.purpose() {
        Purpose::Remind | Purpose::Expire => {
            world.run_internal(work);
            return;
        }
        Purpose::Notify => Some(told(work, (dice % 6) as i32, dice.is_multiple_of(3))),
        Purpose::Pay | Purpose::Query => {
            // A gift may have been withdrawn by a stray report. Money for it would be a dead letter, for a human.
            let outcomes = [Outcome::Captured, Outcome::Declined, Outcome::Unknown];
            let outcome = if world.is_there(&gift) { outcomes[(dice % 3) as usize] } else { Outcome::Declined };
            Some(settle(&gift, outcome, PRICE))
        }
        Purpose::Refund => {
            Some(settle_refund(&gift, [RefundOutcome::Done, RefundOutcome::Refused][dice.is_multiple_of(5) as usize]))
        }
        Purpose::Find => {
            let (found, by) = ((dice % 3) as i32, "provider".into());
            Some(Kind::ResolveSend(ResolveSend { gift, found, provider_id: "m".into(), by }))
        }
        Purpose::Send => {
            let round = work.round();
            // What was drawn may be taken: it is drawn again, as executors do.
            let turn = loop {
                let command = world.begin_send(&gift, round);
                match world.ask(Kind::BeginSend(command)) {
                    Ok(reply) => break reply.turn.expect("a turn"),
                    Err(refusal) => assert_eq!(refusal.reason(), Reason::Collision, "{refusal}"),
                }
            };
            match dice % 4 {
                _ if turn.over => None,
                0 => Some(Kind::SendLater(SendLater { gift, round, ..SendLater::default() })),
                1 => Some(Kind::SendUnknown(SendUnknown { gift, round, ..SendUnknown::default() })),
                _ => Some(sent(&gift, round, turn.channel)),
            }
        }
    };
    let answer = world.done(work, report);
    assert!(matches!(answer, Answer::Decided(_)), "{work:?}: {answer:?}");
}
