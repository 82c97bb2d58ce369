//! Every fuzz target in one program, because RocksDB is linked into it: `BOSINGAK_FUZZ` says which one runs.

#![no_main]

use std::sync::LazyLock;

use fuzz::Target;
use fuzz::allocations::Counted;

#[global_allocator]
static COUNTED: Counted = Counted;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let wanted = std::env::var("BOSINGAK_FUZZ").unwrap_or_default();
    let all = [
        scheduler::fuzzing::TARGETS,
        #[cfg(feature = "node")]
        raft::fuzzing::TARGETS,
        #[cfg(feature = "node")]
        server::fuzzing::TARGETS,
    ];
    all.into_iter()
        .flatten()
        .find(|target| target.name == wanted)
        .unwrap_or_else(|| panic!("BOSINGAK_FUZZ={wanted} is no target"))
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    TARGET.check(input);
});
