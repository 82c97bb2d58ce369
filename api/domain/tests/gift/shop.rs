//! Shops and their terminals: who may take codes, and how often one may be wrong.

use bytes::Bytes;
use domain::gift::{Accept, Redeem, State};
use domain::product::{CodeForm, Product};
use domain::shop::{
    self, AddTerminal, Count, FAILURES_MAX, Forget, PutShop, RevokeTerminal, Terminal, Unlock, VerdictKind,
};
use domain::{Kind, Reason, Refusal, Reply};
use proptest::prelude::*;
use scheduler::time::Timestamp;

use crate::world::*;

const RIGHT: &[u8] = &[7; 16];
const WRONG: &[u8] = &[8; 16];

fn put(name: &str) -> Kind {
    Kind::PutShop(PutShop { id: "jongno".into(), name: name.into(), expected_version: 0 })
}

fn add(terminal: &str, secret: &'static [u8], request: Bytes) -> Kind {
    let (shop, terminal) = ("jongno".into(), terminal.into());
    Kind::AddTerminal(AddTerminal { shop, terminal, secret: Bytes::from_static(secret), request })
}

fn count(secret: &'static [u8], code: u32, request: Bytes) -> Kind {
    let (shop, terminal, code) = ("jongno".into(), "till-1".into(), Bytes::copy_from_slice(&code.to_be_bytes()));
    Kind::Count(Count { shop, terminal, secret: Bytes::from_static(secret), code, request })
}

fn forget(number: u64) -> Kind {
    Kind::Forget(Forget { shop: "jongno".into(), terminal: "till-1".into(), number })
}

fn unlock() -> Kind {
    Kind::Unlock(Unlock { shop: "jongno".into(), terminal: "till-1".into() })
}

fn revoke() -> Kind {
    Kind::RevokeTerminal(RevokeTerminal { shop: "jongno".into(), terminal: "till-1".into() })
}

/// A shop with a terminal.
fn open() -> World {
    let mut world = World::default();
    world.ask(put("종로점")).expect("a shop");
    world.ask(add("till-1", RIGHT, Bytes::new())).expect("a terminal");
    world
}

impl World {
    fn till(&self) -> Terminal {
        shop::terminal(&self.store, SHOP, "jongno", "till-1").expect("read").expect("there")
    }

    fn is_locked(&self) -> bool {
        self.till().locked_until(Timestamp::from_millis(self.now)).is_some()
    }

    /// Tries a code: the number of what was counted.
    fn attempt(&mut self, code: u32) -> Result<u64, Refusal> {
        let verdict = self.ask(count(RIGHT, code, Bytes::new()))?.verdict.expect("a verdict");
        assert_eq!(verdict.kind(), VerdictKind::Admitted);
        Ok(verdict.number)
    }
}

#[test]
fn shops_are_made_and_named() {
    let mut world = World::default();
    let made = world.ask(put("종로점")).expect("made").shop.expect("a shop");
    assert_eq!((made.version, made.terminals), (1, 0));
    assert_eq!(world.ask(put("종로점")).expect("the same").shop, Some(made));
    assert_eq!(world.ask(put("종로 2호점")).expect("named").shop.map(|shop| shop.version), Some(2));
    let stale = PutShop { id: "jongno".into(), name: "다른 이름".into(), expected_version: 1 };
    let refusal = world.ask(Kind::PutShop(stale)).expect_err("another version");
    assert_eq!((refusal.reason(), refusal.version), (Reason::VersionMismatch, 2));
    for (field, id, name) in [
        ("shop.id", "", "x"),
        ("shop.id", "a b", "x"),
        ("shop.id", "a}b", "x"),
        ("shop.name", "a", ""),
        ("shop.name", "a", &"가".repeat(61)),
    ] {
        let command = PutShop { id: id.into(), name: name.into(), expected_version: 0 };
        let refusal = world.ask(Kind::PutShop(command)).expect_err(field);
        assert_eq!((refusal.reason(), refusal.field.as_str()), (Reason::Invalid, field));
    }
    let ids = |after| shop::list(&world.store, SHOP, after, 9).expect("read").into_iter().map(|shop| shop.id);
    assert_eq!(ids("").collect::<Vec<_>>(), ["jongno"]);
    assert_eq!(ids("jongno").count(), 0);
}

/// Red when a secret that may have been lost on its way still opens, or a revoked terminal is known.
#[test]
fn terminals_are_registered_once_and_revoked() {
    let mut world = World::default();
    assert_eq!(world.ask(add("till-1", RIGHT, request(1))).expect_err("no shop").field, "shop");
    world.ask(put("종로점")).expect("a shop");
    let reply = world.ask(add("till-1", WRONG, request(1))).expect("registered");
    assert!(!reply.replayed && reply.terminal.expect("one").secret.is_empty(), "hashes are not answered");
    let again = world.ask(add("till-1", RIGHT, request(1))).expect("repeated");
    assert!(again.replayed);
    assert!(world.till().is_proven_by(RIGHT) && !world.till().is_proven_by(WRONG), "the newest secret alone");
    for other in [request(2), Bytes::new()] {
        let refusal = world.ask(add("till-1", WRONG, other)).expect_err("registered");
        assert_eq!((refusal.reason(), refusal.field.as_str()), (Reason::AlreadyExists, "terminal"));
    }
    assert!(!world.ask(revoke()).expect("revoked").replayed);
    assert!(world.ask(revoke()).expect("again").replayed);
    assert!(!world.till().is_proven_by(RIGHT) && !world.till().is_proven_by(b""));
    assert_eq!(world.ask(count(RIGHT, 1, Bytes::new())).expect_err("revoked").reason(), Reason::NotAuthenticated);
    world.ask(add("till-1", WRONG, request(3))).expect("registered again");
    assert_eq!(shop::get(&world.store, SHOP, "jongno").expect("read").map(|shop| shop.terminals), Some(1));
    assert!(world.till().is_proven_by(WRONG));
    for (field, id, secret) in [("terminal_id", "a b", RIGHT), ("secret", "till-2", b"short".as_slice())] {
        assert_eq!(world.ask(add(id, secret, Bytes::new())).expect_err(field).field, field);
    }
    assert_eq!(world.ask(add("till-2", RIGHT, Bytes::from_static(b"x"))).expect_err("odd").field, "request_id");
    world.ask(add("till-0", RIGHT, Bytes::new())).expect("another");
    let ids: Vec<String> =
        shop::terminals(&world.store, SHOP, "jongno").expect("read").into_iter().map(|one| one.id).collect();
    assert_eq!(ids, ["till-0", "till-1"]);
}

/// Red when an attempt is not counted before the answer, or the lock ends too early or too late.
#[test]
fn ten_within_an_hour_lock_a_terminal_for_an_hour() {
    let mut world = open();
    for code in 0..FAILURES_MAX as u32 {
        assert!(!world.is_locked());
        world.attempt(code).expect("admitted");
        world.now += MINUTE;
    }
    let locked_at = world.now - MINUTE;
    let before = world.till();
    for secret in [RIGHT, WRONG] {
        let refusal = world.ask(count(secret, 99, Bytes::new())).expect_err("locked");
        assert_eq!((refusal.reason(), refusal.until), (Reason::Locked, locked_at + HOUR));
    }
    assert_eq!(world.till(), before, "a refused attempt is not counted");
    world.now = locked_at + HOUR - 1;
    assert!(world.attempt(99).is_err());
    world.now += 1;
    world.attempt(99).expect("it is over");
    assert_eq!(world.till().counted.len(), 1, "and forgotten");
}

#[test]
fn what_is_an_hour_old_is_not_counted() {
    let mut world = open();
    for code in 0..9 {
        world.attempt(code).expect("admitted");
    }
    world.now += HOUR;
    for code in 0..9 {
        world.attempt(code).expect("admitted");
    }
    assert_eq!(world.till().counted.len(), 9);
    assert!(!world.is_locked());
}

/// Red when right codes lock a terminal, or what is forgotten twice takes something else along.
#[test]
fn a_code_that_was_right_is_forgotten() {
    let mut world = open();
    for code in 0..100 {
        let number = world.attempt(code).expect("admitted");
        assert!(!world.ask(forget(number)).expect("forgotten").replayed);
        assert!(world.ask(forget(number)).expect("again").replayed);
    }
    assert!(world.till().counted.is_empty());
    // Ten that are being looked up at once lock it until one of them turns out to be right.
    let numbers: Vec<u64> = (0..10).map(|code| world.attempt(code).expect("admitted")).collect();
    assert!(world.is_locked());
    world.ask(forget(numbers[4])).expect("forgotten");
    assert!(!world.is_locked());
    world.pass(MINUTE);
    assert!(world.alerts().is_empty(), "nothing to tell the operators");
}

/// Red when somebody who repeats a request is counted twice; or once for several codes.
#[test]
fn a_repeated_request_is_counted_once() {
    let mut world = open();
    let first = world.ask(count(RIGHT, 1, request(1))).expect("admitted");
    let again = world.ask(count(RIGHT, 1, request(1))).expect("repeated");
    assert!(again.replayed && again.verdict.as_ref().map(|v| v.number) == first.verdict.map(|v| v.number));
    assert_eq!(world.till().counted.len(), 1);
    world.ask(count(RIGHT, 2, request(1))).expect("another code");
    world.ask(count(RIGHT, 1, request(2))).expect("another request");
    world.ask(count(WRONG, 1, request(1))).expect("not proven");
    assert_eq!(world.till().counted.len(), 4);
    for number in 3..9 {
        world.ask(count(RIGHT, 1, request(number))).expect("admitted");
    }
    assert!(world.is_locked());
    assert!(world.ask(count(RIGHT, 1, request(1))).expect("known").replayed, "its answer is known to whoever asked");
    assert_eq!(world.ask(count(WRONG, 1, request(1))).expect_err("not proven").reason(), Reason::Locked);
}

#[test]
fn wrong_secrets_are_counted_too() {
    let mut world = open();
    for _ in 0..FAILURES_MAX {
        let verdict = world.ask(count(WRONG, 1, Bytes::new())).expect("counted").verdict.expect("a verdict");
        assert_eq!(verdict.kind(), VerdictKind::Wrong);
    }
    assert_eq!(world.attempt(1).expect_err("locked").reason(), Reason::Locked);
    for (shop, terminal) in [("jongno", "till-9"), ("elsewhere", "till-1")] {
        let command = Count {
            shop: shop.into(),
            terminal: terminal.into(),
            secret: Bytes::from_static(RIGHT),
            code: Bytes::from_static(b"code"),
            request: Bytes::new(),
        };
        assert_eq!(world.ask(Kind::Count(command)).expect_err("nobody").reason(), Reason::NotAuthenticated);
    }
}

/// Red when nobody is told, or somebody is told twice of one lock-out.
#[test]
fn operators_are_told_of_a_lock_out() {
    let mut world = open();
    for code in 0..FAILURES_MAX as u32 {
        world.attempt(code).expect("admitted");
    }
    assert!(world.alerts().is_empty(), "the last may be right");
    world.pass(15 * SECOND);
    let alerts = world.alerts();
    assert_eq!(alerts.len(), 1);
    let expected = (domain::notification::News::TerminalLocked, "jongno", "till-1", world.now - 15 * SECOND + HOUR);
    let told = &alerts[0];
    assert_eq!((told.news(), told.shop.as_str(), told.terminal.as_str(), told.until), expected);
    for _ in 0..3 {
        assert!(world.attempt(1).is_err());
    }
    world.pass(MINUTE);
    assert_eq!(world.alerts().len(), 1);
}

#[test]
fn an_operator_lets_it_try_again() {
    let mut world = open();
    assert!(world.ask(unlock()).expect("nothing to do").replayed);
    for code in 0..FAILURES_MAX as u32 {
        world.attempt(code).expect("admitted");
    }
    assert!(!world.ask(unlock()).expect("unlocked").replayed);
    world.attempt(1).expect("admitted");
    world.pass(MINUTE);
    assert!(world.alerts().is_empty(), "who unlocks it knows");
    let nobody = Unlock { shop: "jongno".into(), terminal: "till-9".into() };
    assert_eq!(world.ask(Kind::Unlock(nobody)).expect_err("nobody").field, "terminal");
}

#[test]
fn whoever_is_locked_out_does_not_come_back_by_being_registered_again() {
    let mut world = open();
    for code in 0..FAILURES_MAX as u32 {
        world.attempt(code).expect("admitted");
    }
    world.ask(revoke()).expect("revoked");
    world.ask(add("till-1", RIGHT, Bytes::new())).expect("registered again");
    assert_eq!(world.attempt(1).expect_err("locked").reason(), Reason::Locked);
}

/// Red when apply trusts that somebody has asked for the terminal.
#[test]
fn a_code_of_digits_is_not_taken_without_a_terminal() {
    let mut world = World::default();
    let digits = Product { code_form: CodeForm::Digits.into(), ..coffee() };
    let command = domain::gift::Reserve { product: Some(digits), ..world.reserve("g1") };
    let send_at = command.send_at;
    world.ask(Kind::Reserve(command)).expect("reserved");
    world.provider(domain::triggers::Purpose::Pay, domain::payment::Outcome::Captured, PRICE);
    world.pass_to(send_at);
    let work = world.work(domain::triggers::Purpose::Send);
    let turn = world.begin("g1", 1);
    world.done(&work, Some(sent("g1", 1, turn.channel)));
    let (link, code) = (world.link("g1"), world.code("g1"));
    world.ask(Kind::Accept(Accept { link, request: Bytes::new() })).expect("accepted");
    let redeem = |terminal: &str| {
        Kind::Redeem(Redeem { code: code.clone(), request: request(1), shop: "s".into(), terminal: terminal.into() })
    };
    assert_eq!(world.ask(redeem("")).expect_err("no terminal").reason(), Reason::NotAuthenticated);
    assert_eq!(world.state("g1"), State::Accepted);
    world.ask(redeem("till-1")).expect("taken");
    assert_eq!(world.state("g1"), State::Used);
}

#[derive(Clone, Debug)]
enum Step {
    Try {
        wrong_secret: bool,
        request: u8,
        code: u8,
    },
    /// The code of one of the attempts was right.
    Right(usize),
    Pass(u64),
    /// The terminal is revoked and registered again.
    Again,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (any::<bool>(), 0_u8..4, 0_u8..3)
            .prop_map(|(wrong_secret, request, code)| Step::Try { wrong_secret, request, code }),
        2 => (0_usize..12).prop_map(Step::Right),
        2 => (0..20 * MINUTE).prop_map(Step::Pass),
        1 => Just(Step::Again),
    ];
    prop::collection::vec(step, 1..150)
}

proptest! {
    /// However one tries: never more than ten within any hour that turn out wrong. (The invariants of `invariants.rs` hold besides.)
    ///
    /// Red when anything lets a failure be forgotten too early.
    #[test]
    fn nobody_is_wrong_more_than_ten_times_within_an_hour(steps in steps()) {
        let mut world = open();
        // By the number of what was counted: when.
        let mut wrong: std::collections::BTreeMap<u64, u64> = Default::default();
        for step in steps {
            match step {
                Step::Try { wrong_secret, request: asked, code } => {
                    let asked = if asked == 0 { Bytes::new() } else { request(asked) };
                    let secret = if wrong_secret { WRONG } else { RIGHT };
                    let was_locked = world.is_locked();
                    match world.ask(count(secret, code.into(), asked)) {
                        Ok(Reply { verdict: Some(verdict), replayed, .. }) => {
                            prop_assert!(replayed || !was_locked);
                            let before = wrong.insert(verdict.number, world.now);
                            // What was known is as old as it was.
                            if let Some(before) = before {
                                wrong.insert(verdict.number, before);
                            }
                            prop_assert_eq!(replayed, before.is_some());
                        }
                        Err(refusal) => {
                            prop_assert_eq!(refusal.reason(), Reason::Locked);
                            prop_assert!(was_locked && refusal.until > world.now && refusal.until <= world.now + HOUR);
                        }
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                Step::Right(place) => {
                    if let Some(number) = wrong.keys().rev().nth(place).copied() {
                        world.ask(forget(number)).expect("forgotten, or not there");
                        wrong.remove(&number);
                    }
                }
                Step::Pass(ms) => world.pass(ms),
                Step::Again => {
                    world.ask(revoke()).expect("revoked");
                    world.ask(add("till-1", RIGHT, Bytes::new())).expect("registered");
                }
            }
            let times: Vec<u64> = wrong.values().copied().collect();
            for window in times.windows(FAILURES_MAX + 1) {
                prop_assert!(window[FAILURES_MAX] - window[0] >= HOUR, "{:?}", times);
            }
        }
    }
}
