//! What recipients and shops do.

use domain::gift::{self, Accept, Party, Redeem, State, Transfer};
use domain::notification::News;
use domain::{Kind, Reason};

use crate::world::*;

fn accept(link: bytes::Bytes, number: u8) -> Kind {
    Kind::Accept(Accept { link, request: request(number) })
}

fn redeem(code: bytes::Bytes, number: u8) -> Kind {
    Kind::Redeem(Redeem { code, request: request(number), shop: "s".into(), ..Redeem::default() })
}

fn pass_on(world: &mut World, number: u8) -> Transfer {
    let to = Party { name: "준호".into(), phone: "+821022222222".into(), ..Party::default() };
    Transfer { link: world.link("g1"), request: request(number), to: Some(to), draw: Some(world.draw()) }
}

/// Red when the old code still leads to the gift, or the link is not compared with that of the holder.
#[test]
fn passed_on_once_and_the_old_link_and_code_are_dead() {
    for take_first in [false, true] {
        let mut world = World::default();
        world.sent("g1");
        if take_first {
            let link = world.link("g1");
            world.ask(accept(link, 1)).expect("accepted");
        }
        let (state, money) = (world.state("g1"), world.money());
        world.told();
        let (old_link, old_code) = (world.link("g1"), world.code("g1"));
        let command = pass_on(&mut world, 2);
        world.ask(Kind::Transfer(command.clone())).expect("passed on");
        assert_eq!((world.state("g1"), world.money()), (state, money), "a transfer keeps the state");
        assert_eq!(world.gift("g1").recipient().name, "준호");
        assert_eq!((world.gift("g1").holder, world.news()[0].to.clone().map(|to| to.name)), (2, Some("준호".into())));
        assert_eq!(world.told(), [News::Arrived]);

        for stale in [accept(old_link.clone(), 3), Kind::Transfer(Transfer { request: request(4), ..command })] {
            let refusal = world.ask(stale).expect_err("of an earlier holder");
            assert_eq!((refusal.reason(), refusal.field.as_str()), (Reason::Stale, "link"));
        }
        let refusal = world.ask(redeem(old_code, 5)).expect_err("dead");
        assert_eq!((refusal.reason(), refusal.field.as_str()), (Reason::NotFound, "code"));
        assert!(gift::by_link(&world.store, SHOP, &old_link).expect("read").is_some(), "whoever opens it is told");

        let again = pass_on(&mut world, 6);
        let refusal = world.ask(Kind::Transfer(again)).expect_err("once");
        assert_eq!((refusal.reason(), refusal.state(), refusal.wanted()), (Reason::TooLate, state, state));
        let (link, code) = (world.link("g1"), world.code("g1"));
        world.ask(accept(link, 7)).expect("accepted by the new holder");
        assert_eq!(gift::by_code(&world.store, SHOP, &code).expect("read").map(|gift| gift.id), Some("g1".into()));
        world.ask(redeem(code, 8)).expect("the new code works");
        assert_eq!(world.state("g1"), State::Used);
    }
}

#[test]
fn a_transfer_needs_somebody_who_can_be_reached_and_a_draw_that_is_new() {
    let mut world = World::default();
    world.sent("g1");
    world.sent("g2");
    let good = pass_on(&mut world, 1);
    let nobody = Transfer { to: Some(Party { name: "?".into(), ..Party::default() }), ..good.clone() };
    let refusal = world.ask(Kind::Transfer(nobody)).expect_err("nobody");
    assert_eq!((refusal.reason(), refusal.field.as_str()), (Reason::Invalid, "to"));
    let undrawn = Transfer { draw: None, ..good.clone() };
    assert_eq!(world.ask(Kind::Transfer(undrawn)).expect_err("nothing drawn").field, "draw");
    let taken = Transfer { draw: world.gift("g2").draw, ..good.clone() };
    assert_eq!(world.ask(Kind::Transfer(taken)).expect_err("taken").reason(), Reason::Collision);
    let own = Transfer { draw: world.gift("g1").draw, ..good.clone() };
    assert_eq!(world.ask(Kind::Transfer(own)).expect_err("taken by itself").reason(), Reason::Collision);
    world.ask(Kind::Transfer(good)).expect("passed on");
}

#[test]
fn accepted_once_used_once() {
    let mut world = World::default();
    world.sent("g1");
    let (link, code) = (world.link("g1"), world.code("g1"));
    let refusal = world.ask(redeem(code.clone(), 1)).expect_err("nobody has seen the code");
    assert_eq!((refusal.reason(), refusal.state(), refusal.wanted()), (Reason::WrongState, State::Sent, State::Used));
    world.ask(accept(link.clone(), 2)).expect("accepted");
    assert!(world.ask(accept(link.clone(), 3)).expect("already").replayed);
    world.ask(redeem(code.clone(), 4)).expect("used");
    let refusal = world.ask(redeem(code, 5)).expect_err("used");
    assert_eq!((refusal.reason(), refusal.state(), refusal.wanted()), (Reason::WrongState, State::Used, State::Used));
    let refusal = world.ask(accept(link, 6)).expect_err("used");
    assert_eq!(
        (refusal.reason(), refusal.state(), refusal.wanted()),
        (Reason::WrongState, State::Used, State::Accepted)
    );
    let passed = pass_on(&mut world, 7);
    assert_eq!(world.ask(Kind::Transfer(passed)).expect_err("used").reason(), Reason::WrongState);
}

/// Validity ends at a moment, whether or not the trigger that tidies up has come.
///
/// Red when `in_time` looks at the state.
#[test]
fn nothing_works_from_the_moment_it_expires() {
    let mut world = World::default();
    world.accepted("g1");
    let (link, code) = (world.link("g1"), world.code("g1"));
    world.now = world.gift("g1").expires_at;
    let refusal = world.ask(redeem(code, 1)).expect_err("expired");
    assert_eq!((refusal.reason(), refusal.state(), refusal.wanted()), (Reason::TooLate, State::Accepted, State::Used));
    let passed = Transfer { link, ..pass_on(&mut world, 2) };
    assert_eq!(world.ask(Kind::Transfer(passed)).expect_err("expired").reason(), Reason::TooLate);
}

#[test]
fn unknown_links_and_codes_are_not_found() {
    let mut world = World::default();
    world.sent("g1");
    for hash in [&b""[..], b"short", &[0xff; 64], &[0; 32]] {
        let hash = bytes::Bytes::copy_from_slice(hash);
        assert_eq!(world.ask(accept(hash.clone(), 1)).expect_err("none").field, "link");
        assert_eq!(world.ask(redeem(hash, 1)).expect_err("none").field, "code");
    }
}
