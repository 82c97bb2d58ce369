//! What the documentation says, compared with the code.

use std::collections::BTreeSet;

use domain::gift::State;

/// Red when a way is added to or taken from [`State::next`], or the diagram.
#[test]
fn the_diagram_shows_every_way_and_no_other() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/gift.md")).expect("there");
    let diagram = text.split("```mermaid").nth(1).and_then(|rest| rest.split("```").next()).expect("a diagram");
    let drawn: Vec<(String, String)> = diagram
        .lines()
        .filter_map(|line| line.split_once("-->"))
        .map(|(from, to)| (from.trim().to_owned(), to.trim().to_owned()))
        .collect();
    let name = |state: State| if state == State::Unspecified { "[*]" } else { state.name() }.to_owned();
    let all = [State::Unspecified].into_iter().chain(State::ALL);
    let coded: BTreeSet<_> = all.flat_map(|from| from.next().iter().map(move |to| (name(from), name(*to)))).collect();
    assert_eq!(drawn.len(), coded.len(), "each once");
    assert_eq!(drawn.into_iter().collect::<BTreeSet<_>>(), coded);
}
