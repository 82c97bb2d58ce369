//! The engine by scripts: what is told, and what it says.

use super::*;
use proto::v1::FencingToken;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

/// An engine with one partition, or more, and what it has said.
struct Script {
    engine: Engine,
    now: Duration,
    /// Said since last looked at.
    said: Vec<String>,
    last_work: WorkId,
    counter: u64,
}

impl Script {
    fn new(settings: Settings) -> Self {
        let engine = Engine::new(settings);
        Script { engine, now: Duration::ZERO, said: Vec::new(), last_work: 0, counter: 0 }
    }

    /// Connected to partition 0 at node `a` by stream 1.
    fn connected(settings: Settings) -> Self {
        let mut script = Script::new(settings);
        script.advance(Duration::ZERO);
        script.event(Event::Leaders(vec![(0, "a".into(), 1)]));
        script.message(1, work_response::Message::Welcome(Welcome::default()));
        script.said.clear();
        script
    }

    fn event(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.engine.handle(self.now, event, &mut actions);
        self.engine.advance(self.now, &mut actions);
        self.note(actions);
    }

    fn message(&mut self, stream: StreamId, message: work_response::Message) {
        self.event(Event::Message { stream, message: WorkResponse { message: Some(message) } });
    }

    /// Moves time, stopping wherever the engine wants to be called.
    fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        loop {
            let mut actions = Vec::new();
            self.engine.advance(self.now, &mut actions);
            self.note(actions);
            match self.engine.wake_at() {
                // Leaders are always asked for; that nobody answers is not what these scripts are about.
                Some(at) if at <= end && at > self.now => self.now = at,
                Some(at) if at <= end => self.now += MS,
                _ => break,
            }
        }
        self.now = end;
    }

    fn deliver(&mut self, stream: StreamId, id: &str, generation: u64, attempt: u32) -> FencingToken {
        self.counter += 1;
        let token = FencingToken { epoch: 1, term: 1, counter: self.counter };
        let delivery = Delivery {
            id: id.to_owned(),
            topic: "t".to_owned(),
            generation,
            attempt,
            token: Some(token),
            lease: Some(prost_types::Duration { seconds: 10, nanos: 0 }),
            ..Delivery::default()
        };
        let deliveries = Deliveries { deliveries: vec![delivery] };
        self.message(stream, work_response::Message::Deliveries(deliveries));
        token
    }

    fn finish(&mut self, work: WorkId, outcome: Outcome) {
        self.event(Event::Finished { work, outcome });
    }

    fn result(&mut self, stream: StreamId, sequence: u64, verdict: OutcomeVerdict) {
        let result = OutcomeResult { sequence, verdict: verdict.into(), receipt: None, error: None };
        let results = OutcomeResults { results: vec![result] };
        self.message(stream, work_response::Message::Results(results));
    }

    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    fn note(&mut self, actions: Vec<Action>) {
        for action in actions {
            let line = match action {
                Action::AskLeaders => {
                    // Nobody answers unless a script does.
                    self.engine.handle(self.now, Event::LeadersFailed, &mut Vec::new());
                    continue;
                }
                Action::Dial { stream, endpoint, hello } => {
                    let Some(work_request::Message::Hello(hello)) = hello.message else {
                        panic!("the first message is the hello")
                    };
                    let held: Vec<_> = hello.held.iter().map(|lease| lease.id.as_str()).collect();
                    format!("dial {stream} {endpoint} held [{}]", held.join(" "))
                }
                Action::HangUp { stream } => format!("hang up {stream}"),
                Action::Send { stream, request } => format!("send {stream} {}", sent(&request)),
                Action::Start { work, delivery, .. } => {
                    self.last_work = work;
                    format!("start {} attempt {}", delivery.id, delivery.attempt)
                }
                Action::Abort { .. } => "abort".to_owned(),
                Action::Settled(settled) => {
                    format!("settled {} {}", settled.delivery.id, settled.verdict.as_str_name())
                }
                Action::Drained => "drained".to_owned(),
            };
            self.said.push(line);
        }
    }
}

fn sent(request: &WorkRequest) -> String {
    use work_request::Message;
    match request.message.as_ref().expect("a message") {
        Message::Hello(_) => panic!("a hello goes with the dial"),
        Message::Credit(credit) => format!("credit {}", credit.deliveries),
        Message::Outcomes(report) => {
            let outcomes = report.outcomes.iter().map(|o| {
                let kind = match &o.outcome {
                    Some(delivery_outcome::Outcome::Success(_)) => "success".to_owned(),
                    Some(delivery_outcome::Outcome::Retry(f)) => format!("retry({})", f.error),
                    Some(delivery_outcome::Outcome::Fail(f)) => format!("fail({})", f.error),
                    None => "nothing".to_owned(),
                };
                let counter = o.token.map_or(0, |token| token.counter);
                format!("{}:{} {kind} token {counter}", o.sequence, o.id)
            });
            format!("outcomes {}", outcomes.collect::<Vec<_>>().join(", "))
        }
        Message::Extend(extend) => {
            let ids: Vec<_> = extend.leases.iter().map(|lease| lease.id.as_str()).collect();
            format!("extend {}", ids.join(" "))
        }
        Message::Drain(_) => "drain".to_owned(),
    }
}

#[test]
fn from_nothing_to_done() {
    let mut script = Script::new(Settings::default());
    script.advance(Duration::ZERO);
    script.event(Event::Leaders(vec![(0, "a".into(), 1)]));
    assert_eq!(script.said(), ["dial 1 a held []"]);
    script.message(1, work_response::Message::Welcome(Welcome::default()));
    script.deliver(1, "x", 1, 1);
    assert_eq!(script.said(), ["start x attempt 1"]);
    script.finish(script.last_work, Outcome::Success);
    assert_eq!(script.said(), ["send 1 outcomes 1:x success token 1", "send 1 credit 1"]);
    script.result(1, 1, OutcomeVerdict::Accepted);
    assert_eq!(script.said(), ["settled x OUTCOME_VERDICT_ACCEPTED"]);
    assert_eq!(script.engine.counts(), (0, 0, 0));
}

/// Red when `Outbox::disconnected` keeps what was sent as sent.
#[test]
fn a_report_is_sent_on_every_new_stream_until_it_is_answered() {
    let mut script = Script::connected(Settings::default());
    script.deliver(1, "x", 1, 1);
    script.finish(script.last_work, Outcome::Success);
    script.said();
    script.event(Event::Closed { stream: 1, leader: Some("b".into()) });
    // It is still held: the new leader must not hand it out before the report arrives.
    assert_eq!(script.said(), ["dial 2 b held [x]"]);
    let held = HeldLease { id: "x".into(), generation: 1, ..HeldLease::default() };
    let welcome = Welcome { adopted: vec![held], ..Welcome::default() };
    script.message(2, work_response::Message::Welcome(welcome));
    assert_eq!(script.said(), ["send 2 outcomes 1:x success token 1", "send 2 credit 1"]);
    script.event(Event::Closed { stream: 2, leader: Some("c".into()) });
    script.advance(S);
    assert_eq!(script.said(), ["dial 3 c held [x]"]);
    // Not adopted: somebody else may have it; a success counts all the same.
    script.message(3, work_response::Message::Welcome(Welcome::default()));
    assert_eq!(script.said(), ["send 3 outcomes 1:x success token 1"]);
    script.result(3, 1, OutcomeVerdict::AlreadyDecided);
    assert_eq!(script.said(), ["settled x OUTCOME_VERDICT_ALREADY_DECIDED"]);
}

#[test]
fn what_was_done_is_not_done_again_when_it_is_delivered_again() {
    let mut script = Script::connected(Settings::default());
    script.deliver(1, "x", 1, 1);
    script.finish(script.last_work, Outcome::Success);
    script.said();
    script.deliver(1, "x", 1, 2);
    assert_eq!(script.said(), ["send 1 outcomes 1:x success token 2", "send 1 credit 1"]);
    script.result(1, 1, OutcomeVerdict::Accepted);
    // A new generation is new work.
    script.deliver(1, "x", 2, 1);
    assert!(script.said().contains(&"start x attempt 1".to_owned()));
}

#[test]
fn a_failure_that_was_counted_otherwise_gives_way_to_the_next_attempt() {
    let mut script = Script::connected(Settings::default());
    script.deliver(1, "x", 1, 1);
    script.finish(script.last_work, Outcome::retry("no"));
    script.said();
    script.deliver(1, "x", 1, 2);
    assert_eq!(script.said(), ["start x attempt 2"]);
    script.finish(script.last_work, Outcome::Success);
    assert_eq!(script.said(), ["send 1 outcomes 2:x success token 2", "send 1 credit 1"]);
}

#[test]
fn a_newer_delivery_replaces_the_handler_at_work() {
    let mut script = Script::connected(Settings::default());
    script.deliver(1, "x", 1, 1);
    let older = script.last_work;
    script.said();
    script.deliver(1, "x", 1, 2);
    assert_eq!(script.said(), ["abort", "start x attempt 2", "send 1 credit 1"]);
    // The word of the older one came too late.
    script.finish(older, Outcome::Success);
    assert_eq!(script.said(), Vec::<String>::new());
}

#[test]
fn leases_that_were_not_adopted_stop_and_the_others_go_on() {
    let mut script = Script::connected(Settings::default());
    script.deliver(1, "x", 1, 1);
    script.deliver(1, "y", 2, 1);
    let y = script.last_work;
    script.said();
    script.event(Event::Closed { stream: 1, leader: Some("b".into()) });
    assert_eq!(script.said(), ["dial 2 b held [x y]"]);
    let held = HeldLease { id: "y".into(), generation: 2, ..HeldLease::default() };
    let welcome = Welcome { adopted: vec![held], ..Welcome::default() };
    script.message(2, work_response::Message::Welcome(welcome));
    assert_eq!(script.said(), ["abort"]);
    script.finish(y, Outcome::Success);
    assert_eq!(script.said(), ["send 2 outcomes 1:y success token 2", "send 2 credit 1"]);
}

/// Red when `Work::expires_at` forgets the margin: the report would come after the lease.
#[test]
fn a_handler_that_hangs_is_dropped_before_its_lease_ends() {
    let mut script = Script::connected(Settings::default());
    script.deliver(1, "x", 1, 1);
    script.said();
    script.advance(9_499 * MS);
    assert_eq!(script.said(), Vec::<String>::new());
    script.advance(MS);
    assert_eq!(
        script.said(),
        ["abort", "send 1 outcomes 1:x retry(not done within its lease of 10 s) token 1", "send 1 credit 1"]
    );
}

#[test]
fn what_waits_for_a_handler_is_extended_and_what_runs_is_not() {
    let mut script = Script::connected(Settings { concurrency: 1, ..Settings::default() });
    script.deliver(1, "x", 1, 1);
    let token = script.deliver(1, "y", 2, 1);
    script.said();
    script.advance(5 * S);
    assert_eq!(script.said(), ["send 1 extend y"]);
    let lease = HeldLease { id: "y".into(), generation: 2, token: Some(token), ..HeldLease::default() };
    let extended = ExtendResults { extended: vec![lease.clone()], lost: vec![] };
    script.message(1, work_response::Message::Extended(extended));
    // x ends its lease at 9.5 s; y starts with what is left of the lease it was given at 5 s.
    script.advance(4_500 * MS);
    assert!(script.said().contains(&"start y attempt 1".to_owned()));
    script.advance(4_999 * MS);
    assert_eq!(script.said(), Vec::<String>::new());
    script.advance(MS);
    assert!(script.said()[1].contains("y retry(not done within its lease"));
}

#[test]
fn leases_of_running_handlers_are_extended_up_to_a_limit() {
    let settings = Settings { extend_up_to: Some(25 * S), ..Settings::default() };
    let mut script = Script::connected(settings);
    let token = script.deliver(1, "x", 1, 1);
    script.said();
    let lease = HeldLease { id: "x".into(), generation: 1, token: Some(token), ..HeldLease::default() };
    for _ in 0..3 {
        script.advance(5 * S);
        assert_eq!(script.said(), ["send 1 extend x"], "at {:?}", script.now);
        let extended = ExtendResults { extended: vec![lease.clone()], lost: vec![] };
        script.message(1, work_response::Message::Extended(extended));
    }
    // 15 s have passed and the lease reaches 25 s: as far as it goes.
    script.advance(9_499 * MS);
    assert_eq!(script.said(), Vec::<String>::new());
    script.advance(MS);
    assert_eq!(script.said()[0], "abort");
}

#[test]
fn a_lease_that_is_lost_stops_its_handler_but_not_its_successor() {
    let settings = Settings { extend_up_to: Some(60 * S), ..Settings::default() };
    let mut script = Script::connected(settings);
    let first = script.deliver(1, "x", 1, 1);
    let second = script.deliver(1, "x", 1, 2);
    script.said();
    let mut lost = |token| {
        let lease = HeldLease { id: "x".into(), generation: 1, token: Some(token), ..Default::default() };
        let results = ExtendResults { extended: vec![], lost: vec![lease] };
        script.message(1, work_response::Message::Extended(results));
        script.said()
    };
    assert_eq!(lost(first), Vec::<String>::new());
    assert_eq!(lost(second), ["abort", "send 1 credit 1"]);
}

#[test]
fn a_report_that_cannot_be_taken_now_is_repeated_later() {
    let mut script = Script::connected(Settings::default());
    script.deliver(1, "x", 1, 1);
    script.finish(script.last_work, Outcome::Success);
    script.said();
    // An error without details may be anything.
    script.result(1, 1, OutcomeVerdict::Error);
    assert_eq!(script.said(), Vec::<String>::new());
    script.advance(60 * MS);
    assert_eq!(script.said(), ["send 1 outcomes 1:x success token 1"]);
    let error = proto::RpcStatus { code: 3, message: "bad".into(), details: vec![] };
    let result =
        OutcomeResult { sequence: 1, verdict: OutcomeVerdict::Error.into(), receipt: None, error: Some(error) };
    let results = OutcomeResults { results: vec![result] };
    script.message(1, work_response::Message::Results(results));
    assert_eq!(script.said(), ["settled x OUTCOME_VERDICT_ERROR"]);
}

#[test]
fn go_away_is_followed_and_old_streams_are_not_listened_to() {
    let mut script = Script::connected(Settings::default());
    let go_away = GoAway { reason: "not leader".into(), leader: "b".into() };
    script.message(1, work_response::Message::GoAway(go_away));
    assert_eq!(script.said(), ["hang up 1", "dial 2 b held []"]);
    script.deliver(1, "x", 1, 1);
    assert_eq!(script.said(), Vec::<String>::new());
    assert_eq!(script.engine.counts(), (0, 0, 0));
}

#[test]
fn a_leader_of_a_newer_term_is_moved_to_though_the_old_one_keeps_its_stream() {
    let mut script = Script::connected(Settings::default());
    script.event(Event::Leaders(vec![(0, "a".into(), 1)]));
    assert_eq!(script.said(), Vec::<String>::new());
    script.event(Event::Leaders(vec![(0, "b".into(), 2)]));
    assert_eq!(script.said(), ["hang up 1", "dial 2 b held []"]);
}

#[test]
fn no_more_than_the_concurrency_runs() {
    let mut script = Script::connected(Settings { concurrency: 2, ..Settings::default() });
    for generation in 1..=3 {
        script.deliver(1, "x", generation, 1);
    }
    assert_eq!(script.said(), ["start x attempt 1", "start x attempt 1"]);
    assert_eq!(script.engine.counts(), (2, 1, 0));
    script.finish(script.last_work, Outcome::Success);
    assert_eq!(script.said()[0], "start x attempt 1");
}

#[test]
fn partitions_share_what_may_be_held() {
    let mut script = Script::new(Settings { max_in_flight: 10, ..Settings::default() });
    script.advance(Duration::ZERO);
    let leaders = (0..4).map(|partition| (partition, "a".to_owned(), 1)).collect();
    script.event(Event::Leaders(leaders));
    assert_eq!(script.engine.share(), 3);
    assert_eq!(script.said().len(), 4);
}

#[test]
fn draining_finishes_what_is_in_hand_and_then_says_so() {
    let mut script = Script::connected(Settings::default());
    script.deliver(1, "x", 1, 1);
    script.said();
    script.event(Event::Drain);
    assert_eq!(script.said(), ["send 1 drain"]);
    script.finish(script.last_work, Outcome::Success);
    // No credit: nothing more is wanted.
    assert_eq!(script.said(), ["send 1 outcomes 1:x success token 1"]);
    // The leader goes before it answers: the report is owed and follows the leadership.
    script.event(Event::Closed { stream: 1, leader: Some("b".into()) });
    assert_eq!(script.said(), ["dial 2 b held [x]"]);
    script.message(2, work_response::Message::Welcome(Welcome::default()));
    assert_eq!(script.said(), ["send 2 drain", "send 2 outcomes 1:x success token 1"]);
    script.result(2, 1, OutcomeVerdict::Accepted);
    assert_eq!(script.said(), ["settled x OUTCOME_VERDICT_ACCEPTED", "drained"]);
}

#[test]
fn an_idle_executor_is_drained_at_once() {
    let mut script = Script::new(Settings::default());
    script.event(Event::Drain);
    assert_eq!(script.said(), ["drained"]);
    assert_eq!(script.engine.wake_at(), None);
}
