// SPDX-License-Identifier: MIT
//! What a program may rely on in the host, each on a process of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The host, ready to run `source`.
fn host(name: &str, source: &str) -> Command {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.js"));
    fs::write(&file, format!("const host = globalThis.__host;\n{source}")).unwrap();
    // Test binaries lie in target/PROFILE/deps, examples beside that folder.
    let profile = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let program = profile.join("examples/run_source");
    assert!(program.exists(), "cargo builds {} unless it is asked for single tests", program.display());
    let mut command = Command::new(program);
    command.arg(file);
    command
}

fn run(name: &str, source: &str) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = host(name, source).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Output of a program that must end well and silently.
fn output(name: &str, source: &str) -> String {
    let (code, out, err) = run(name, source);
    assert_eq!((code, err.as_str()), (Some(0), ""), "output was: {out}");
    out
}

#[test]
fn a_program_that_waits_for_nothing_ends() {
    assert_eq!(output("ends", "host.out(`é\\u{1f600}\\n`)"), "é\u{1f600}\n");
}

#[test]
fn arguments_come_with_the_program_name_first() {
    let out = host("args", "host.out(JSON.stringify(host.args.slice(1)))").args(["status", "--json"]).output().unwrap();
    assert_eq!(out.stdout, br#"["status","--json"]"#);
}

#[test]
fn exit_ends_the_process_after_the_turn_with_its_code() {
    let source = "host.setTimer(0, () => { host.exit(3); host.out('same turn'); Promise.resolve().then(() => host.out(', its jobs')); });";
    assert_eq!(run("exit", source), (Some(3), "same turn, its jobs".into(), String::new()));
}

#[test]
fn a_timer_fires_once_not_before_its_time_and_the_last_one_set_counts() {
    let source = "
        const start = host.nowMs();
        host.setTimer(1, () => host.out('replaced'));
        host.setTimer(20, () => {
            host.out(`${host.nowMs() - start >= 20}`);
            host.setTimer(5, () => host.out('cancelled'));
            host.setTimer(undefined);
        });";
    assert_eq!(output("timer", source), "true");
}

#[test]
fn promise_jobs_run_to_their_end_within_the_turn() {
    let source = "
        const order = [];
        const chain = async (n) => { for (let i = 0; i < n; i++) await null; order.push('jobs'); };
        host.setTimer(0, () => { void chain(50); host.setTimer(0, () => { order.push('next turn'); host.out(order.join()); }); });";
    assert_eq!(output("jobs", source), "jobs,next turn");
}

#[test]
fn an_exception_during_start_up_is_logged_with_its_stack_and_ends_in_70() {
    let (code, _, err) = run("throws", "function inner() { throw new RangeError('too far') }\ninner();");
    assert_eq!(code, Some(70));
    assert!(err.contains("uncaught") && err.contains("RangeError: too far") && err.contains("at inner"), "{err}");
}

#[test]
fn a_rejection_that_nobody_handled_during_start_up_ends_in_70() {
    let (code, _, err) =
        run("rejects", "host.onSignal(() => {}); void (async () => { await null; throw new Error('lost') })();");
    assert_eq!(code, Some(70));
    assert!(err.contains("uncaught rejection: Error: lost"), "{err}");
}

#[test]
fn a_syntax_error_ends_in_70() {
    let (code, _, err) = run("syntax", "const = 1");
    assert_eq!(code, Some(70));
    assert!(err.contains("SyntaxError"), "{err}");
}

#[test]
fn after_start_up_exceptions_and_rejections_are_logged_and_the_loop_goes_on() {
    let source = "
        host.setTimer(0, () => {
            host.setTimer(0, () => { host.out('still here'); });
            void Promise.reject(null);
            throw {toString() { throw 1 }};
        });";
    let (code, out, err) = run("goes-on", source);
    assert_eq!((code, out.as_str()), (Some(0), "still here"));
    assert!(
        err.contains("uncaught exception: something without text (object)") && err.contains("uncaught rejection: null"),
        "{err}"
    );
}

#[test]
fn a_rejection_handled_within_its_turn_is_not_logged() {
    output(
        "handled",
        "const p = Promise.reject(new Error('x')); queueMicrotask(() => p.catch(() => host.out('caught')));",
    );
}

#[test]
fn a_runaway_recursion_and_a_full_heap_are_exceptions_of_the_program() {
    let source = "
        const recurse = () => 1 + recurse();
        try { recurse() } catch (error) { host.out(error.name) }
        let all = [];
        try { for (;;) all.push(new Uint8Array(1 << 20)) } catch { host.out(` ${all.length < 32 && all.length > 20}`) }
        all = [];";
    assert_eq!(output("limits", source), "RangeError true");
}

#[test]
fn native_functions_refuse_what_would_let_them_leave_an_array() {
    let source = "
        const {native} = host;
        const refused = (f) => { try { f() } catch (error) { return error.name } return 'not refused' };
        const bytes = new Uint8Array(8);
        host.out([
            refused(() => native.ipop_last_error(bytes, 9)),
            refused(() => native.ipop_last_error(bytes.subarray(4), 5)),
            refused(() => native.ipop_last_error(bytes)),
            refused(() => native.ipop_last_error('text', 4)),
            refused(() => native.ipop_last_error(new Uint16Array(8), 4)),
            refused(() => native.ipop_last_error(bytes, 1.5)),
            refused(() => native.ipop_last_error(bytes, 2 ** 32)),
            refused(() => native.ipop_last_error(bytes, NaN)),
            refused(() => native.ipop_rule_set(1, bytes.subarray(3), 0, 0)),
            refused(() => native.ipop_hash(2, bytes, 4, bytes.subarray(3), 5)),
        ].join());";
    assert_eq!(
        output("native-refuses", source),
        "RangeError,RangeError,TypeError,TypeError,TypeError,TypeError,TypeError,TypeError,RangeError,TypeError"
    );
}

#[test]
fn native_functions_write_into_the_array_itself_at_its_offset() {
    let source = "
        const {native} = host;
        const failed = native.ipop_poll(new Uint8Array(4), 4);
        const bytes = new Uint8Array(12).fill(46);
        const length = native.ipop_last_error(bytes.subarray(2), 8);
        host.out(`${failed} ${length} ${String.fromCharCode(...bytes)}`);";
    assert_eq!(output("native-writes", source), "-22 8 ..a buffer..");
}

#[test]
fn signals_are_given_to_the_program_by_number() {
    let source =
        "host.onSignal((signal) => { host.out(`${signal}`); host.exit(signal === 15 ? 0 : 1) }); host.out('ready\\n');";
    let mut child = host("signal", source).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    // SAFETY: signals our own child, which has not been waited for.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    assert_eq!(lines.next().unwrap().unwrap(), "15");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_signal_that_the_program_does_not_want_ends_it() {
    let mut child = host("no-signal", "host.setTimer(60000, () => {}); host.out('ready\\n');")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    // SAFETY: signals our own child, which has not been waited for.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    assert_eq!(child.wait().unwrap().code(), Some(128 + libc::SIGINT));
}

#[test]
fn text_without_utf8_form_is_mended_not_lost() {
    let (code, out, err) = run("surrogate", "host.out('a\\ud800b'); host.log('c\\udc00');");
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "a\u{fffd}b", "c\u{fffd}\n"));
}

#[test]
fn native_functions_take_empty_arrays_and_the_same_input_twice() {
    let source = "
        const {native} = host;
        const out = new Uint8Array(32);
        const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
        const empty = new Uint8Array(0);
        host.out(`${native.ipop_hash(2, empty, 0, out, 32)} ${hex(out.subarray(0, 4))} `);
        const key = Uint8Array.of(1);
        host.out(`${native.ipop_hmac(1, key, 1, key, 1, out, 32)}`);";
    assert_eq!(output("native-empty", source), "32 e3b0c442 20");
}

#[test]
fn each_record_is_a_turn_of_its_own_in_order() {
    let source = "
        const {native} = host;
        const order = [];
        native.ipop_start();
        host.onRecord((record) => {
            const request = new DataView(record.buffer).getInt32(12, true);
            order.push(`record ${requests.indexOf(request)} of ${record.length}`);
            void (async () => {
                for (let i = 0; i < 20; i++) await null;
                order.push(`jobs ${requests.indexOf(request)}`);
                if (order.length === 6) { host.out(order.join()); host.exit(0); }
            })();
        });
        const bytes = Uint8Array.of(1, 2, 3);
        const requests = [2, 1, 2].map((algorithm) => native.ipop_pbkdf2(algorithm, bytes, 3, bytes, 3, 10));
        const until = host.nowMs() + 50;
        while (host.nowMs() < until);
        host.setTimer(10000, () => host.exit(1));";
    assert_eq!(output("records", source), "record 0 of 48,jobs 0,record 1 of 36,jobs 1,record 2 of 48,jobs 2");
}

#[test]
fn every_function_of_the_header_can_be_called() {
    let header = include_str!("../../include/ipop.h");
    let declared = header.lines().filter_map(|line| line.strip_prefix("int ")?.split_once('(').map(|(name, _)| name));
    assert_eq!(ipop_host::native_names().collect::<Vec<_>>(), declared.collect::<Vec<_>>());
}

#[test]
fn the_binary_needs_no_library_that_debian_and_openwrt_do_not_have() {
    let ldd = Command::new("ldd").arg(env!("CARGO_BIN_EXE_ipopd")).output().unwrap();
    assert!(ldd.status.success(), "{}", String::from_utf8_lossy(&ldd.stderr));
    let listed = String::from_utf8(ldd.stdout).unwrap();
    let names = listed.lines().filter_map(|line| line.split_whitespace().next()?.rsplit('/').next());
    let known = ["linux-vdso.", "ld-linux", "libssl.", "libcrypto.", "libstdc++.", "libgcc_s.", "libm.", "libc."];
    let others: Vec<_> = names.filter(|name| !known.iter().any(|known| name.starts_with(known))).collect();
    assert!(listed.contains("libc.") && others.is_empty(), "it also needs {others:?}");
}
