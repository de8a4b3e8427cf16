use super::*;
use crate::{Limits, RequestHead};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// What becomes of a request with these lines, whose new numbers are 1, 2, 3: the lines that go on about its
/// trace, sorted.
fn passed(lines: &[&str], decided: bool) -> (Trace, Vec<String>) {
    let text = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        lines.iter().map(|line| format!("{line}\r\n")).collect::<String>()
    );
    let mut head = RequestHead::default();
    head.parse(text.as_bytes(), Limits::default()).unwrap().unwrap();
    let mut last = 0;
    let random = || {
        last += 1;
        last
    };
    let received = Received::of(head.fields(text.as_bytes()));
    let trace = Trace::continuing(received, random, || decided);
    let mut edits = Edits::new();
    trace.edit(&mut edits);
    let mut out = Vec::new();
    head.encode(text.as_bytes(), &edits, &mut out);
    drop(edits);
    let mut lines: Vec<String> = String::from_utf8(out)
        .unwrap()
        .lines()
        .skip(2)
        .filter(|line| !line.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    lines.sort();
    (trace, lines)
}

fn new(sampled: u8) -> String {
    format!("traceparent: 00-00000000000000020000000000000003-0000000000000001-0{sampled}")
}

#[test]
fn a_trace_is_continued_under_our_span() {
    for (flags, sampled) in [("00", 0), ("01", 1), ("03", 1), ("02", 0)] {
        let (trace, lines) = passed(
            &[&format!("Traceparent: 00-{TRACE}-{SPAN}-{flags}"), "tracestate: a=1"],
            sampled == 0,
        );
        let ours = format!("traceparent: 00-{TRACE}-0000000000000001-0{sampled}");
        assert_eq!(lines, [ours, "tracestate: a=1".to_owned()]);
        assert_eq!(trace.parent_id().map(u64::from_be_bytes), u64::from_str_radix(SPAN, 16).ok());
        assert_eq!(u128::from_be_bytes(trace.trace_id()), id(TRACE).unwrap());
        assert_eq!(trace.is_sampled(), sampled == 1);
    }
}

#[test]
fn without_one_a_trace_begins_and_sampling_decides() {
    for (decided, sampled) in [(false, 0), (true, 1)] {
        let (trace, lines) = passed(&["tracestate: a=1"], decided);
        assert_eq!(lines, [new(sampled)], "a state without a parent is void");
        assert_eq!((trace.parent_id(), trace.is_sampled()), (None, decided));
    }
}

#[test]
fn what_is_malformed_counts_as_absent() {
    let zeros = "0".repeat(32);
    for broken in [
        String::new(),
        "00".to_owned(),
        format!("00-{TRACE}-{SPAN}"),
        format!("00-{TRACE}-{SPAN}-01-"),
        format!("00-{TRACE}-{SPAN}-01-more"),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("01-{TRACE}-{SPAN}-01more"),
        format!("00-{zeros}-{SPAN}-01"),
        format!("00-{TRACE}-0000000000000000-01"),
        format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        format!("00-{TRACE}-{SPAN}-+1"),
        format!("00-{}g-{SPAN}-01", &TRACE[1..]),
        format!("00_{TRACE}_{SPAN}_01"),
        "é".repeat(30),
    ] {
        let (trace, lines) = passed(&[&format!("traceparent: {broken}"), "tracestate: a=1"], false);
        assert_eq!((lines, trace.parent_id()), (vec![new(0)], None), "{broken}");
    }
    let good = format!("traceparent: 00-{TRACE}-{SPAN}-01");
    assert_eq!(passed(&[&good, &good], false).1, [new(0)], "two are none");
    let later = format!("traceparent: cc-{TRACE}-{SPAN}-01-what-the-future-brings");
    assert_eq!(
        passed(&[&later], false).0.parent_id().map(u64::from_be_bytes),
        Some(0xb7ad_6b71_6920_3331)
    );
}

#[test]
fn b3_in_one_field_is_continued_in_one_field() {
    for (came, goes, sampled) in [
        (format!("{TRACE}-{SPAN}-1"), format!("{TRACE}-0000000000000001-1-{SPAN}"), 1),
        (format!("{TRACE}-{SPAN}-0"), format!("{TRACE}-0000000000000001-0-{SPAN}"), 0),
        (format!("{TRACE}-{SPAN}-d"), format!("{TRACE}-0000000000000001-d-{SPAN}"), 1),
        (format!("{TRACE}-{SPAN}-1-{SPAN}"), format!("{TRACE}-0000000000000001-1-{SPAN}"), 1),
        (format!("{TRACE}-{SPAN}"), format!("{TRACE}-0000000000000001-0-{SPAN}"), 0),
    ] {
        let (trace, lines) = passed(&[&format!("B3: {came}")], false);
        let parent = format!("traceparent: 00-{TRACE}-0000000000000001-0{sampled}");
        assert_eq!(lines, [format!("b3: {goes}"), parent], "{came}");
        assert!(trace.parent_id().is_some());
    }
    let short = &TRACE[16..];
    let (_, lines) = passed(&[&format!("b3: {short}-{SPAN}-1")], false);
    assert_eq!(lines[0], format!("b3: {short}-0000000000000001-1-{SPAN}"));
    assert_eq!(lines[1], format!("traceparent: 00-{short:0>32}-0000000000000001-01"));
    for (alone, decided, sampled) in [("0", true, 0), ("1", false, 1), ("d", false, 1)] {
        let (_, lines) = passed(&[&format!("b3: {alone}")], decided);
        let goes = format!("b3: 00000000000000020000000000000003-0000000000000001-{alone}");
        assert_eq!(lines, [goes, new(sampled)]);
    }
    for broken in ["", "x", "1-2-3", &format!("{TRACE}-{SPAN}0-1")] {
        let (_, lines) = passed(&[&format!("b3: {broken}")], false);
        assert_eq!(lines[1], new(0), "{broken}");
    }
}

#[test]
fn b3_in_several_fields_is_continued_in_several() {
    let trace = format!("X-B3-TraceId: {TRACE}");
    let span = format!("X-B3-SpanId: {SPAN}");
    for (state, goes, sampled) in [
        ("X-B3-Sampled: 1", "x-b3-sampled: 1", 1),
        ("X-B3-Sampled: true", "x-b3-sampled: 1", 1),
        ("X-B3-Sampled: 0", "x-b3-sampled: 0", 0),
        ("X-B3-Flags: 1", "x-b3-flags: 1", 1),
        ("X-B3-Flags: 0", "x-b3-sampled: 0", 0),
    ] {
        let (_, lines) = passed(&[&trace, &span, "X-B3-ParentSpanId: 1", state], false);
        let mut expected = vec![
            format!("traceparent: 00-{TRACE}-0000000000000001-0{sampled}"),
            format!("x-b3-parentspanid: {SPAN}"),
            goes.to_owned(),
            "x-b3-spanid: 0000000000000001".to_owned(),
            format!("x-b3-traceid: {TRACE}"),
        ];
        expected.sort();
        assert_eq!(lines, expected, "{state}");
    }
}

#[test]
fn traceparent_is_believed_before_b3_and_all_forms_agree() {
    let w3c = format!("traceparent: 00-{TRACE}-{SPAN}-01");
    let (_, lines) = passed(&[&w3c, "b3: 0", "x-b3-sampled: 0", "x-b3-traceid: 7"], false);
    assert_eq!(
        lines,
        [
            format!("b3: {TRACE}-0000000000000001-1-{SPAN}"),
            format!("traceparent: 00-{TRACE}-0000000000000001-01"),
            format!("x-b3-parentspanid: {SPAN}"),
            "x-b3-sampled: 1".to_owned(),
            "x-b3-spanid: 0000000000000001".to_owned(),
            format!("x-b3-traceid: {TRACE}"),
        ]
    );
}
