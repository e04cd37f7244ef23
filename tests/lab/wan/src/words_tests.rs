// SPDX-License-Identifier: MIT
//! Specs and commands, right and wrong.

use crate::line::{Burst, Spec};
use crate::words::{Command, command, spec};

#[test]
fn every_word_of_a_spec_has_its_place() {
    let text = "delay=25,jitter=3,loss=0.1,enter=0.01,leave=0.2,loss_bad=1,loss_good=0.001,reorder=0.02,reorder_by=7,\
                duplicate=0.03,rate=1000000,queue=5000";
    let burst = Burst { enter: 0.01, leave: 0.2, loss_bad: 1.0, loss_good: 0.001 };
    let all = Spec {
        delay: 25,
        jitter: 3,
        loss: 0.1,
        burst,
        reorder: 0.02,
        reorder_by: 7,
        duplicate: 0.03,
        rate: 1_000_000,
        queue: 5_000,
    };
    assert_eq!(spec(text), Ok(all));
    assert_eq!(spec("none"), Ok(Spec::default()));
}

#[test]
fn a_wrong_word_is_refused_by_name_and_value() {
    for (text, said) in [
        ("", "key=value"),
        ("delay", "'delay': key=value"),
        ("delay=-1", "delay '-1'"),
        ("delay=9999999999999999999", "delay '9999999999999999999'"),
        ("delay=3600000000001", "at most"),
        ("speed=1", "'speed' is no word"),
        ("loss=1.1", "loss '1.1': a probability"),
        ("loss=NaN", "loss 'NaN'"),
        ("jitter=2,delay=1", "jitter '2': at most the delay, 1"),
        ("rate=1000000", "with a queue"),
        ("rate=10,queue=1", "rate '10'"),
        ("queue=1", "none without a rate"),
    ] {
        let error = spec(text).unwrap_err();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn commands_are_numbered_and_nothing_else_is_one() {
    assert_eq!(command("3 counters"), Ok((3, Command::Counters)));
    let loss = Spec { loss: 0.5, ..Spec::default() };
    assert_eq!(command("4 set up loss=0.5"), Ok((4, Command::Set { up: true, spec: loss })));
    assert_eq!(command("5 set down none"), Ok((5, Command::Set { up: false, spec: Spec::default() })));
    for line in ["", "counters", "x counters", "1 set both none", "1 set up", "1 set up loss=2", "1 stop"] {
        assert!(command(line).is_err(), "{line}");
    }
}
