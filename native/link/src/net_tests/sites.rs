// SPDX-License-Identifier: MIT
//! Two ends in network namespaces of their own, and the middle between them: the test's namespace.
//!
//! ```text
//! end 0 -- s1  10.98.1.2, fd98:1::2     10.98.1.1, fd98:1::1  m1 -- middle -- m2  ...  s2 -- end 1
//! ```

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// A process that ends with the test.
pub struct Killed(std::process::Child);

impl std::ops::Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How the two ends are joined.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Middle {
    V4,
    V6,
    /// No way but by a server in the middle.
    Closed,
}

/// A network namespace.
pub struct Netns(File);

impl Netns {
    /// This thread's own.
    fn here() -> Self {
        Self(File::open("/proc/thread-self/ns/net").unwrap())
    }

    /// Runs `action` on a thread of its own in there.
    pub fn run<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        let fd = self.0.as_raw_fd();
        std::thread::scope(|scope| {
            let body = move || {
                // SAFETY: takes no pointers; affects this thread only.
                assert_eq!(unsafe { libc::setns(fd, libc::CLONE_NEWNET) }, 0);
                action()
            };
            scope.spawn(body).join().unwrap()
        })
    }

    /// Runs `ip` in there.
    pub fn ip(&self, line: &str) {
        self.run(|| ip(line));
    }
}

/// One end, and where it lives.
pub struct Site {
    pub end: End,
    pub ns: Netns,
}

/// Runs nft in this thread's namespace.
pub fn nft(text: &str) {
    assert!(Command::new("/usr/sbin/nft").arg(text).status().unwrap().success(), "{text}");
}

/// Runs nft in this thread's namespace; the rules replace those of the last call.
pub fn filter(rules: &str) {
    nft(&format!(
        "table inet t\ndelete table inet t\ntable inet t {{ chain f {{ type filter hook forward priority 0; {rules}; }}; }}"
    ));
}

fn forward(middle: Middle) {
    let on = u8::from(middle != Middle::Closed);
    for key in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
        assert!(Command::new("sysctl").arg("-qw").arg(format!("{key}={on}")).status().unwrap().success());
    }
}

/// Makes a neighbour known for good: what is learned counts against a bound that the whole machine shares.
pub fn neighbour(address: &str, device: &str, number: u8, end: u8) {
    ip(&format!("neigh add {address} lladdr 02:98:0{number}:00:00:0{end} dev {device} nud permanent"));
}

/// Makes the end of a site, on a thread in its namespace.
fn build(
    (number, role, middle): (u8, Role, Middle),
    config: &str,
    count_only: bool,
    tid: &Sender<i32>,
    plugged: &Receiver<()>,
) -> Site {
    // SAFETY: takes no pointers; affects this thread only.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
    // SAFETY: no preconditions.
    tid.send(unsafe { libc::gettid() }).unwrap();
    plugged.recv().unwrap();
    ip("link set lo up");
    ip(&format!("link set s{number} up"));
    let (address, gateway) = match middle {
        Middle::V6 => (format!("fd98:{number}::2/64"), format!("fd98:{number}::1")),
        _ => (format!("10.98.{number}.2/24"), format!("10.98.{number}.1")),
    };
    ip(&format!("addr add {address} dev s{number}{}", if middle == Middle::V6 { " nodad" } else { "" }));
    ip(&format!("route add default via {gateway}"));
    neighbour(&gateway, &format!("s{number}"), number, 1);
    let queue = Arc::new(RecordQueue::new().unwrap());
    let links = start_links(queue.clone());
    let config = TextMap::parse(config.as_bytes()).unwrap();
    Site { end: End::configured(links, queue, role, count_only, &config), ns: Netns::here() }
}

/// Two sites whose links are being made, each with its config.
pub fn sites(middle: Middle, configs: [&str; 2], count_only: bool) -> [Site; 2] {
    forward(middle);
    [(1u8, Role::Offer), (2, Role::Answer)].map(|(number, role)| {
        let ((tid_tx, tid), (plug, plugged)) = (channel(), channel());
        let config = configs[usize::from(number) - 1].to_owned();
        let thread = std::thread::spawn(move || build((number, role, middle), &config, count_only, &tid_tx, &plugged));
        let [here, there] = [1, 2].map(|end| format!("address 02:98:0{number}:00:00:0{end}"));
        ip(&format!("link add m{number} {here} type veth peer name s{number} {there}"));
        ip(&format!("link set s{number} netns {}", tid.recv().unwrap()));
        ip(&format!("addr add 10.98.{number}.1/24 dev m{number}"));
        ip(&format!("addr add fd98:{number}::1/64 dev m{number} nodad"));
        ip(&format!("link set m{number} up"));
        for address in ["10.98.{}.2", "10.98.{}.77", "10.98.{}.78", "fd98:{}::2"] {
            neighbour(&address.replace("{}", &number.to_string()), &format!("m{number}"), number, 2);
        }
        plug.send(()).unwrap();
        thread.join().unwrap()
    })
}

/// Two sites with a direct path, up.
pub fn apart(middle: Middle) -> [Site; 2] {
    let mut sites = sites(middle, [""; 2], false);
    let [a, b] = &mut sites;
    bring_up(&mut a.end, &mut b.end);
    sites
}

/// A relay in the middle. None: no turnserver here.
fn relay() -> Option<Killed> {
    ip("addr add 10.98.0.1/32 dev lo");
    let turn = [
        "-n",
        "--no-tls",
        "--no-dtls",
        "--no-cli",
        "-a",
        "-u",
        "user:p@ss",
        "-r",
        "test",
        "-L",
        "10.98.0.1",
        "-E",
        "10.98.0.1",
    ];
    let files = ["--log-file=/dev/null", "--pidfile=/dev/null", "--userdb=/dev/null"];
    let server = Command::new("turnserver").args(turn).args(files).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let Ok(server) = server else {
        note("SKIPPED: no turnserver here\n");
        return None;
    };
    Some(Killed(server))
}

/// Two ends, up through a relay that these of them have. None: no turnserver here.
pub fn relayed(has: [bool; 2], count_only: bool) -> Option<([Site; 2], Killed)> {
    let server = relay()?;
    let config = |has| if has { "server=turn:user:p%40ss@10.98.0.1:3478" } else { "" };
    let mut sites = sites(Middle::Closed, has.map(config), count_only);
    let [Site { end: a, .. }, Site { end: b, .. }] = &mut sites;
    bring_up(a, b);
    signal(a, b);
    signal(b, a);
    Some((sites, server))
}
