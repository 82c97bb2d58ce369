//! What a person may type, given anything: lengths of time, moments, messages as JSON. In the tests only: a program has no library that
//! libFuzzer could be built with.

use fuzz::Target;
use fuzz::allocations::Counted;
use proto::v1::{ScheduleRequest, Trigger, when};

use crate::{duration, json, moment, when as due};

#[global_allocator]
static COUNTED: Counted = Counted;

fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}

fn a_length(input: &[u8]) -> bool {
    let Some(Ok(length)) = text(input).map(duration::parse) else { return false };
    assert_eq!(duration::of_proto(Some(duration::proto(length))), Some(length), "the protocol says the same");
    // Two units of which each is as long as can be are together longer than one.
    if u64::try_from(length.as_millis()).is_ok() {
        let shown = duration::parse(&duration::show(length)).expect("what is shown is a length");
        assert!(shown <= length, "the two largest units are no more than all");
    }
    true
}

fn a_moment(input: &[u8]) -> bool {
    // A gift's, whose zone may be left out, is read wherever a trigger's is.
    let gift = text(input).is_some_and(|text| due::moment_or_local("--at", text).is_ok());
    assert!(gift || text(input).is_none_or(|text| due::at(text).is_err()), "what is a time is one for gifts too");
    let Some(Ok(when)) = text(input).map(due::at) else { return false };
    match when {
        when::When::At(at) => {
            let shown = moment::show(Some(at));
            assert_eq!(due::moment("--at", &shown).ok().flatten(), Some(at), "{shown} is the same moment");
        }
        when::When::Local(local) => assert!(!local.time_zone.is_empty(), "a local time has a zone"),
        when::When::After(_) => panic!("--at is no length of time"),
    }
    true
}

fn a_message(input: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(input) else { return false };
    if let Ok(trigger) = json::message::<Trigger>(value.clone()) {
        let _ = json::value(&trigger).expect("a message can be shown");
    }
    let Ok(request) = json::message::<ScheduleRequest>(value) else { return false };
    let mut shown = json::value(&request).expect("a message can be shown");
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("payloadText");
    }
    assert_eq!(json::message::<ScheduleRequest>(shown), Ok(request));
    true
}

#[test]
fn any_length_is_read_or_refused() {
    let valid = ["250ms", "90s", "1h30m", "30d", "1d 2h", "5w"].map(|text| text.as_bytes().to_vec());
    fuzz::sweep(&Target::new("cli-length", a_length), &valid);
}

#[test]
fn any_moment_is_read_or_refused() {
    let valid = [
        "2027-02-14T00:00 Asia/Seoul",
        "2027-02-14 00:00 Asia/Seoul",
        "2027-02-14T00:00[Asia/Seoul]",
        "2027-02-14 Asia/Seoul",
        "2027-02-13T15:00:00Z",
        "2027-02-14T00:00:00.250+09:00",
    ];
    fuzz::sweep(&Target::new("cli-moment", a_moment), &valid.map(|text| text.as_bytes().to_vec()));
}

#[test]
fn any_json_is_read_or_refused() {
    let valid = [
        r#"{"id": "x", "topic": "mail", "when": {"after": "5s"}, "payload": "67O07Iug6rCB", "labels": {"kind": "gift"}}"#,
        r#"{"namespace": "shop", "when": {"local": {"dateTime": "2027-02-14T00:00", "timeZone": "Asia/Seoul"}}, "priority": "PRIORITY_HIGH"}"#,
    ];
    // The descriptors of the whole protocol are made once, at the first message, and are nothing that an input made it allocate.
    let _ = json::message::<Trigger>(serde_json::Value::Null);
    let target = Target::new("cli-json", a_message).rounds(4_000).allocates(4 << 20);
    fuzz::sweep(&target, &valid.map(|text| text.as_bytes().to_vec()));
}
