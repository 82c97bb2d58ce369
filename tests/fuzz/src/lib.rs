//! Fuzzing of whatever is read from a disk, a network or a person.
//!
//! A [`Target`] takes any bytes and panics when a promise about them is broken: that they are read or refused, that what was read is
//! written and read again as the same. Targets stand beside the code they are about, in a module `fuzzing` of its crate, because much of
//! it is that crate's own; this crate knows none of them. It has what they share: inputs that are kept ([`corpus`]), changes that get past
//! the first decoder ([`mutate`]), a count of what is allocated ([`allocations`]).
//!
//! [`sweep`] is a short run that is the same every time, for the tests of each crate. `./dev fuzz` runs the same targets with libFuzzer,
//! which is guided by the code an input reaches (`libfuzzer/`).

pub mod allocations;
pub mod corpus;
pub mod mutate;
mod random;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

pub use random::Random;

/// What a decoder may allocate, however small its input, in bytes.
const ALLOCATED_MIN: usize = 256 << 10;

/// What it may allocate for each byte of its input. An empty message of two bytes may be a struct of a few hundred, in a list that grows
/// by doubling.
const ALLOCATED_PER_BYTE: usize = 1_024;

/// Something that any bytes can be given to.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is that of its file in `corpus/`.
    pub name: &'static str,
    run: fn(&[u8]) -> bool,
    rounds: u64,
    understood_percent: u64,
    allocated_min: usize,
}

impl Target {
    /// A target. `run` panics when a promise is broken, and tells whether it understood the bytes.
    pub const fn new(name: &'static str, run: fn(&[u8]) -> bool) -> Target {
        Target { name, run, rounds: 20_000, understood_percent: 5, allocated_min: ALLOCATED_MIN }
    }

    /// A sweep makes so many inputs; 20,000 unless said.
    pub const fn rounds(self, rounds: u64) -> Target {
        Target { rounds, ..self }
    }

    /// A sweep in which fewer are understood is vacuous: it shows only that rubbish is refused. 5 % unless said.
    pub const fn understood(self, percent: u64) -> Target {
        Target { understood_percent: percent, ..self }
    }

    /// Allocates so much whatever it is given; 256 KiB unless said.
    pub const fn allocates(self, bytes: usize) -> Target {
        Target { allocated_min: bytes, ..self }
    }

    /// Gives it some bytes. Returns whether it understood them.
    ///
    /// # Panics
    ///
    /// If a promise is broken, or more is allocated than the input justifies, where that is counted.
    pub fn check(&self, input: &[u8]) -> bool {
        let (understood, allocated) = allocations::during(|| (self.run)(input));
        let allowed = self.allocated_min + ALLOCATED_PER_BYTE * input.len();
        assert!(
            allocated <= allowed,
            "{} bytes made it allocate {allocated} bytes, {allowed} are allowed",
            input.len()
        );
        understood
    }
}

/// Gives a target everything that is kept for it, `valid` inputs, and inputs made of both by a fixed seed; the same ones every time.
///
/// With `CORPUS=write` the valid inputs are added to those kept, for libFuzzer to begin with.
///
/// # Panics
///
/// If the target does, with the input; if a valid input is not understood; if too few of those made are.
pub fn sweep(target: &Target, valid: &[Vec<u8>]) {
    assert!(allocations::are_counted(), "the test binary has no counting allocator");
    let mut kept = corpus::read(target.name);
    for input in valid {
        assert!(tell(target, "a valid input", input), "{}: not understood: {}", target.name, corpus::line(input));
    }
    for input in &kept {
        tell(target, "a kept input", input);
    }
    kept.extend_from_slice(valid);
    kept.sort();
    kept.dedup();
    if std::env::var_os("CORPUS").is_some_and(|value| value == "write") {
        corpus::write(target.name, &kept);
    }
    assert!(!kept.is_empty(), "{}: nothing to begin with", target.name);
    for input in mutate::nested() {
        tell(target, "nesting", &input);
    }
    let mut understood = 0;
    for round in 0..target.rounds {
        let mut random = Random::new(round);
        let pick = |random: &mut Random| &kept[random.below(kept.len())];
        let (first, second) = (pick(&mut random), pick(&mut random));
        let input = mutate::mutate(&mut random, first, second);
        understood += u64::from(tell(target, &format!("round {round}"), &input));
    }
    let least = target.rounds * target.understood_percent / 100;
    println!("{}: {} kept, {understood} of {} understood", target.name, kept.len(), target.rounds);
    assert!(understood >= least, "{}: {understood} inputs were understood, fewer than {least}: vacuous", target.name);
}

/// Gives it an input; a panic is told with the input, as a line for its file in `corpus/`.
fn tell(target: &Target, what: &str, input: &[u8]) -> bool {
    match catch_unwind(AssertUnwindSafe(|| target.check(input))) {
        Ok(understood) => understood,
        Err(panic) => {
            eprintln!("{}, {what}: {}", target.name, corpus::line(input));
            resume_unwind(panic)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static COUNTED: allocations::Counted = allocations::Counted;

    fn message(input: &[u8]) -> bool {
        assert_ne!(input.first(), Some(&0x0b), "the planted mistake");
        mutate::is_message(input)
    }

    fn greedy(input: &[u8]) -> bool {
        let length = input.first_chunk().map_or(0, |length| u32::from_le_bytes(*length));
        drop(vec![1u8; length as usize]);
        true
    }

    const VALID: &[u8] = &[0x0a, 2, 0x08, 7, 0x10, 1];

    #[test]
    #[should_panic(expected = "the planted mistake")]
    fn a_mistake_is_found() {
        sweep(&Target::new("test", message), &[VALID.to_vec()]);
    }

    #[test]
    #[should_panic(expected = "are allowed")]
    fn a_length_that_is_believed_is_found() {
        sweep(&Target::new("test", greedy), &[vec![1, 0, 0, 0]]);
    }

    #[test]
    #[should_panic(expected = "vacuous")]
    fn a_target_that_refuses_everything_is_told() {
        sweep(&Target::new("test", |input| input == VALID).understood(50), &[VALID.to_vec()]);
    }

    /// Red when fewer of the changes keep the structure: then targets see little but the first refusal.
    #[test]
    fn half_of_what_is_made_of_a_message_is_a_message() {
        let made = (0..1_000).map(|round| mutate::mutate(&mut Random::new(round), VALID, VALID));
        let whole = made.filter(|made| mutate::is_message(made)).count();
        assert!((400..900).contains(&whole), "{whole} of 1,000");
    }
}
