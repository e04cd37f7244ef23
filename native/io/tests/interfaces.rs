// SPDX-License-Identifier: MIT
//! Bridges, the overlay's addresses and the watch, in network namespaces that each test's own thread makes and takes with it.

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use ipop_io::InterfaceWatch;
use ipop_io::interfaces::{address_is_overlay, bridge_join, bridge_of};
use support::{INTERFACES, Records};

/// Runs `test` on a thread in a fresh network namespace, which ends with the thread.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    if !support::is_root() {
        support::skip("a network namespace needs root");
        return;
    }
    let run = || {
        // SAFETY: concerns this thread only, which ends with the test.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", std::io::Error::last_os_error());
        test();
    };
    if let Err(panic) = std::thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

/// `ip` commands, one a line, in this thread's namespace.
fn ip(commands: &str) {
    for line in commands.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let output = Command::new("ip").args(line.split_whitespace()).output().unwrap();
        assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

fn mtu(interface: &str) -> String {
    let output = Command::new("ip").args(["-o", "link", "show", interface]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().skip_while(|word| *word != "mtu").nth(1).unwrap().to_owned()
}

/// An interface on top of another, of whichever kind this kernel has; false: none.
fn put_on_top(below: &str, name: &str) -> bool {
    ["type vlan id 10", "type macvlan"].iter().any(|kind| {
        let line = format!("link add link {below} name {name} {kind}");
        Command::new("ip").args(line.split_whitespace()).output().unwrap().status.success()
    })
}

const LAN: &str = "link add br-lan type bridge
    link add lan0 type veth peer name host0
    link set lan0 master br-lan
    tuntap add ipop0 mode tap";

#[test]
fn a_tap_joins_its_bridge_and_joining_again_changes_nothing() {
    in_namespace(|| {
        ip(LAN);
        assert_eq!(bridge_of("ipop0").unwrap(), None);
        bridge_join("ipop0", "br-lan").unwrap();
        assert_eq!(bridge_of("ipop0").unwrap().as_deref(), Some("br-lan"));
        bridge_join("ipop0", "br-lan").unwrap();
        assert_eq!(bridge_of("ipop0").unwrap().as_deref(), Some("br-lan"));
    });
}

#[test]
fn a_tap_that_cannot_join_is_told_why() {
    in_namespace(|| {
        ip(LAN);
        ip("link add br-guest type bridge");
        let why = |tap, bridge| {
            let error = bridge_join(tap, bridge).unwrap_err();
            (error.errno, error.text)
        };
        assert_eq!(why("ipop9", "br-lan"), (libc::ENODEV, "there is no interface 'ipop9'".to_owned()));
        assert_eq!(why("ipop0", "br-none"), (libc::ENODEV, "there is no interface 'br-none'".to_owned()));
        assert_eq!(why("ipop0", "a-name-of-over-15-bytes").0, libc::ENODEV);
        assert_eq!(why("ipop0", ""), (libc::ENODEV, "there is no interface ''".to_owned()));
        assert_eq!(why("ipop0", "host0"), (libc::EINVAL, "'host0' is not a bridge".to_owned()));
        bridge_join("ipop0", "br-guest").unwrap();
        let text = "'ipop0' is in 'br-guest' already, not in 'br-lan'".to_owned();
        assert_eq!(why("ipop0", "br-lan"), (libc::EBUSY, text));
        assert_eq!(bridge_of("ipop0").unwrap().as_deref(), Some("br-guest"));
        assert_eq!(bridge_of("ipop9").unwrap_err().errno, libc::ENODEV);
    });
}

#[test]
fn a_tap_with_a_smaller_mtu_leaves_the_bridges_mtu_as_it_was() {
    in_namespace(|| {
        ip(LAN);
        ip("link set ipop0 mtu 1400");
        assert_eq!(mtu("br-lan"), "1500");
        bridge_join("ipop0", "br-lan").unwrap();
        assert_eq!((mtu("br-lan").as_str(), mtu("ipop0").as_str()), ("1500", "1400"));
    });
}

#[test]
fn addresses_of_and_behind_the_taps_bridge_are_overlay_and_those_of_the_wan_are_not() {
    in_namespace(|| {
        ip(LAN);
        ip("link set lo up
            link add wan0 type veth peer name isp0
            link add br-guest type bridge
            link set ipop0 master br-lan
            link set br-lan up
            link set lan0 up
            link set host0 up
            link set wan0 up
            link set isp0 up
            link set br-guest up
            address add 192.168.1.1/24 dev br-lan
            address add fd00:1::1/64 dev br-lan nodad
            address add 192.168.2.1/24 dev br-guest
            address add 203.0.113.5/24 dev wan0
            address add 2001:db8::5/64 dev wan0 nodad
            address add fe80::77/64 dev br-lan nodad
            route add default via 203.0.113.1
            route add 10.9.0.0/16 via 192.168.1.2
            route add unreachable 10.8.0.0/16
            route add blackhole 10.7.0.0/16");
        let taps = ["ipop0".to_owned(), "ipop9".to_owned()];
        let overlay = |address| address_is_overlay(address, &taps).unwrap();
        for address in ["192.168.1.1", "192.168.1.7", "::ffff:192.168.1.7", "fd00:1::1", "fd00:1::7"] {
            assert!(overlay(address), "{address} is ours or on our LAN");
        }
        for address in ["10.9.1.1", "fe80::77%br-lan"] {
            assert!(overlay(address), "{address} is the bridge's, or routed through it");
        }
        for address in ["203.0.113.5", "203.0.113.1", "198.51.100.9", "2001:db8::5", "2001:db8::6", "192.168.2.1"] {
            assert!(!overlay(address), "{address} is on the WAN or another bridge");
        }
        for address in ["10.8.0.1", "10.7.0.1", "2001:db8:9::1", "127.0.0.1", "::1"] {
            assert!(!overlay(address), "{address} leads nowhere, or stays here");
        }
        assert!(!address_is_overlay("192.168.1.7", &[]).unwrap(), "without taps there is no overlay");
        assert_eq!(address_is_overlay("host.example", &taps).unwrap_err().errno, libc::EINVAL);
    });
}

#[test]
fn addresses_of_an_interface_on_top_of_the_bridge_are_overlay() {
    in_namespace(|| {
        ip(LAN);
        bridge_join("ipop0", "br-lan").unwrap();
        if !put_on_top("br-lan", "top0") {
            support::skip("this kernel has neither VLAN nor macvlan interfaces");
            return;
        }
        ip("link set br-lan up
            link set lan0 up
            link set host0 up
            link set top0 up
            address add 192.168.10.1/24 dev top0");
        let taps = ["ipop0".to_owned()];
        assert!(address_is_overlay("192.168.10.1", &taps).unwrap());
        assert!(address_is_overlay("192.168.10.7", &taps).unwrap());
    });
}

#[test]
fn an_address_on_the_tap_itself_is_overlay() {
    in_namespace(|| {
        ip("tuntap add ipop0 mode tap
            link set ipop0 up
            address add 10.1.0.1/24 dev ipop0");
        let taps = ["ipop0".to_owned()];
        assert!(address_is_overlay("10.1.0.1", &taps).unwrap());
        assert!(!address_is_overlay("10.2.0.1", &taps).unwrap(), "no route");
    });
}

#[test]
fn questions_take_less_than_five_milliseconds_with_a_hundred_interfaces() {
    in_namespace(|| {
        ip(LAN);
        for i in 0..50 {
            ip(&format!("link add a{i} type veth peer name b{i}\n address add 10.0.{i}.1/24 dev a{i}"));
        }
        let taps = ["ipop0".to_owned()];
        // The best of several: the machine may be busy with other things.
        let best = (0..10).map(|_| {
            let start = Instant::now();
            address_is_overlay("192.0.2.1", &taps).unwrap();
            start.elapsed()
        });
        let best = best.min().unwrap();
        assert!(best < Duration::from_millis(5), "{best:?}");
    });
}

#[test]
fn the_watch_tells_changes_of_links_addresses_and_bridges_and_not_more_than_twice_a_second() {
    in_namespace(|| {
        ip("link add br-lan type bridge");
        let (queue, mut records) = Records::new();
        let watch = InterfaceWatch::start(queue).unwrap();
        assert_eq!(records.within(Duration::from_millis(100)), None, "nothing changed yet");
        let start = Instant::now();
        for i in 0..100 {
            ip(&format!("link add a{i} type veth peer name b{i}"));
        }
        let first = records.next();
        assert_eq!((first.kind, first.handle, first.payload.len()), (INTERFACES, 0, 0));
        let mut count = 1;
        while records.within(Duration::from_millis(700)).is_some() {
            count += 1;
        }
        let most = start.elapsed().as_millis() / 500 + 1;
        assert!(count >= 2 && count <= most, "{count} records, at most {most}");
        for change in ["link set a0 master br-lan", "link set br-lan up", "address add 10.0.0.1/24 dev br-lan"] {
            while records.within(Duration::from_millis(600)).is_some() {}
            ip(change);
            assert!(records.within(Duration::from_secs(2)).is_some(), "{change}");
        }
        watch.stop();
        while records.within(Duration::ZERO).is_some() {}
        ip("link delete a1");
        assert_eq!(records.within(Duration::from_millis(700)), None, "it has stopped");
    });
}
