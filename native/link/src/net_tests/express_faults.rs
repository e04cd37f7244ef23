// SPDX-License-Identifier: MIT
//! The express carriage on paths that fail it, and among datagrams that are not the peer's.

use super::lifetime::come_and_go;
use super::sites::*;
use super::*;

/// Datagrams of express, by the first byte of UDP's payload (PROTOCOL 5.1).
const EXPRESS: &str = "meta l4proto udp @th,64,8 >= 0xc0";

fn pair() -> [Site; 2] {
    let sites = apart(Middle::V4);
    by_express(&sites[0].end, &sites[1].end, [""; 2]);
    sites
}

/// Sends a frame of this length now and then until one arrives; returns how long that took.
fn arrives(from: &End, to: &End, length: usize) -> Duration {
    let start = Instant::now();
    let arrived = |to: &End| to.sink.frames.lock().unwrap().iter().any(|got| got.len() == length);
    while !arrived(to) {
        assert!(start.elapsed() < LIMIT, "no frame of {length} bytes within {LIMIT:?}");
        let _ = from.send(&Frame::plain(&frame(length)));
        std::thread::sleep(Duration::from_millis(10));
    }
    to.sink.frames.lock().unwrap().clear();
    start.elapsed()
}

fn size(end: &End) -> u32 {
    end.said("datagram_bytes").parse().unwrap()
}

/// Sends frames until the carriage and the size of its datagrams are as wanted.
fn until(from: &End, to: &End, what: &str, wanted: impl Fn(&End) -> bool) {
    let start = Instant::now();
    while !wanted(from) {
        assert!(start.elapsed() < Duration::from_secs(90), "{what}: {:?}", from.info());
        let _ = from.send(&Frame::plain(&frame(1400)));
        std::thread::sleep(Duration::from_millis(10));
        to.sink.frames.lock().unwrap().clear();
    }
}

#[test]
fn a_path_that_eats_all_express_is_left_for_srtp_within_seconds() {
    let Some(_guard) = network() else { return };
    let [Site { end: a, .. }, Site { end: b, .. }] = pair();
    arrives(&a, &b, 1400);
    filter(&format!("{EXPRESS} drop"));
    assert!(arrives(&a, &b, 1400) < Duration::from_secs(6));
    assert!(!a.is_by_express());
    assert_eq!(a.said("carriage_why"), "the direct path does not answer any more");
    assert!(arrives(&a, &b, 1401) < Duration::from_secs(1));
}

#[test]
#[ignore = "takes half a minute: cargo test --release -p ipop-link -- --ignored"]
fn a_path_that_eats_express_and_then_does_not_gets_it_back() {
    let Some(_guard) = network() else { return };
    let [Site { end: a, .. }, Site { end: b, .. }] = pair();
    filter(&format!("{EXPRESS} drop"));
    until(&a, &b, "on SRTP", |end| !end.is_by_express());
    filter("accept");
    let start = Instant::now();
    until(&a, &b, "by express again", End::is_by_express);
    assert!(start.elapsed() < Duration::from_secs(14), "{:?}", start.elapsed());
}

#[test]
fn a_path_that_eats_the_longest_datagrams_gets_shorter_ones_by_express() {
    let Some(_guard) = network() else { return };
    let [Site { end: a, ns }, Site { end: b, .. }] = pair();
    // The middle shall see datagrams, not trains.
    ns.ip("link set s1 gso_max_segs 1");
    wait_until("the largest size", || size(&a) == 1472);
    // 1392 bytes of payload pass.
    filter("udp length > 1400 drop");
    let taken = arrives(&a, &b, 1444);
    assert!(taken < Duration::from_secs(6), "{taken:?}");
    assert!(a.is_by_express());
    until(&a, &b, "the size that passes", |end| size(end) == 1392);
    arrives(&a, &b, 1500);
}

/// A path of 1280 bytes from the middle to the second site.
fn narrow_middle() {
    ip("link set m2 mtu 1280");
}

#[test]
fn an_interface_or_path_that_becomes_narrower_shortens_datagrams_at_once() {
    for here in [true, false] {
        let Some(_guard) = network() else { return };
        let [Site { end: a, ns }, Site { end: b, .. }] = pair();
        wait_until("the largest size", || size(&a) == 1472);
        if here {
            ns.ip("link set s1 mtu 1280")
        } else {
            narrow_middle()
        }
        let taken = arrives(&a, &b, 1444);
        assert!(taken < Duration::from_millis(500), "here {here}: {taken:?}");
        assert_eq!((size(&a), a.is_by_express()), (1252, true));
        assert!(arrives(&b, &a, 1400) < Duration::from_secs(6));
    }
}

#[test]
fn a_narrow_path_that_says_nothing_is_found_within_seconds() {
    let Some(_guard) = network() else { return };
    let [Site { end: a, .. }, Site { end: b, .. }] = pair();
    wait_until("the largest size", || size(&a) == 1472);
    nft("table ip silent { chain o { type filter hook output priority 0; icmp type destination-unreachable drop; }; }");
    narrow_middle();
    let taken = arrives(&a, &b, 1444);
    assert!(taken < Duration::from_secs(6), "{taken:?}");
    until(&a, &b, "1252 bytes", |end| size(end) == 1252 && end.is_by_express());
}

#[test]
#[ignore = "takes a minute: cargo test --release -p ipop-link -- --ignored"]
fn an_interface_that_becomes_wider_again_is_used_as_such_a_minute_later() {
    let Some(_guard) = network() else { return };
    let [Site { end: a, ns }, Site { end: b, .. }] = pair();
    wait_until("the largest size", || size(&a) == 1472);
    for _ in 0..2 {
        ns.ip("link set s1 mtu 1280");
        until(&a, &b, "1252 bytes", |end| size(end) == 1252 && end.is_by_express());
        ns.ip("link set s1 mtu 1500");
        let start = Instant::now();
        until(&a, &b, "1472 bytes", |end| size(end) == 1472);
        assert!(start.elapsed() < Duration::from_secs(65), "{:?}", start.elapsed());
    }
}

#[test]
fn a_peer_whose_address_changes_is_followed_within_a_second() {
    let Some(_guard) = network() else { return };
    let [Site { end: a, .. }, Site { end: b, ns }] = pair();
    arrives(&a, &b, 1400);
    for address in ["10.98.2.77", "10.98.2.78"] {
        ns.run(|| {
            ip("addr flush dev s2 scope global");
            ip(&format!("addr add {address}/24 dev s2"));
            ip("route add default via 10.98.2.1");
            ip("neigh replace 10.98.2.1 lladdr 02:98:02:00:00:01 dev s2 nud permanent");
        });
        let start = Instant::now();
        // Both ways: a peer that is silent can be found by nobody.
        while !a.is_by_express() || a.inner().express_of().unwrap().to().ip().to_string() != address {
            assert!(start.elapsed() < Duration::from_secs(1), "{:?}", a.info());
            let _ = b.send(&Frame::plain(&frame(100)));
            let _ = a.send(&Frame::plain(&frame(1444)));
            std::thread::sleep(Duration::from_millis(5));
        }
        b.sink.frames.lock().unwrap().clear();
        arrives(&a, &b, 1444);
        arrives(&b, &a, 1444);
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        assert!(a.is_by_express() && b.is_by_express());
    }
}

/// What comes to the middle from the first site: whole IPv4 packets.
struct Tap(std::os::fd::OwnedFd);

impl Tap {
    fn new() -> Self {
        use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
        let protocol = (libc::ETH_P_IP as u16).to_be();
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, protocol.into()) };
        assert!(fd >= 0);
        // SAFETY: fd is fresh.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: sockaddr_ll is plain data.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        (address.sll_family, address.sll_protocol) = (libc::AF_PACKET as u16, protocol);
        // SAFETY: a live string with its NUL.
        address.sll_ifindex = unsafe { libc::if_nametoindex(c"m1".as_ptr()) } as i32;
        let size = size_of_val(&address) as u32;
        // SAFETY: a live address of this size.
        assert_eq!(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size) }, 0);
        Self(fd)
    }

    /// The next packet to 10.98.2.2 whose payload is express and has this length.
    fn express(&self, payload: usize) -> Vec<u8> {
        use std::os::fd::AsRawFd;
        let start = Instant::now();
        let mut buffer = [0u8; 2048];
        loop {
            // SAFETY: a live buffer of this size.
            let got = unsafe { libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            if got == 28 + payload as isize && buffer[16..20] == [10, 98, 2, 2] && buffer[28] == 0xc0 {
                return buffer[..got as usize].to_vec();
            }
            assert!(start.elapsed() < LIMIT, "no datagram of {payload} bytes");
        }
    }
}

/// Sends IPv4 packets as they are.
struct Forge(std::os::fd::OwnedFd);

impl Forge {
    fn new() -> Self {
        use std::os::fd::{FromRawFd, OwnedFd};
        // SAFETY: takes no pointers; the result is checked before it is owned.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW) };
        assert!(fd >= 0);
        // SAFETY: fd is fresh.
        Self(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// `packet` with another payload: as its sender would have sent it.
    fn send(&self, packet: &[u8], payload: &[u8]) {
        use std::os::fd::AsRawFd;
        let mut forged = [&packet[..28], payload].concat();
        let (total, length) = (forged.len() as u16, payload.len() as u16 + 8);
        // Lengths; fragment offset and checksum of IP are the kernel's; UDP needs none.
        forged[2..4].copy_from_slice(&total.to_be_bytes());
        forged[24..26].copy_from_slice(&length.to_be_bytes());
        forged[26..28].fill(0);
        // SAFETY: sockaddr_in is plain data.
        let mut to: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        to.sin_family = libc::AF_INET as u16;
        to.sin_addr.s_addr = u32::from_ne_bytes(forged[16..20].try_into().unwrap());
        let size = size_of_val(&to) as u32;
        // SAFETY: live bytes and a live address of these sizes.
        let sent = unsafe {
            let bytes = forged.as_ptr().cast();
            libc::sendto(self.0.as_raw_fd(), bytes, forged.len(), 0, (&raw const to).cast(), size)
        };
        assert_eq!(sent, forged.len() as isize, "{}", std::io::Error::last_os_error());
    }
}

#[test]
fn datagrams_that_are_replayed_cut_changed_or_foreign_are_counted_and_never_arrive() {
    let Some(_guard) = network() else { return };
    let [Site { end: a, .. }, Site { end: b, .. }] = pair();
    let (tap, forge) = (Tap::new(), Forge::new());
    a.send(&Frame::plain(&frame(700))).unwrap();
    let packet = tap.express(28 + 700);
    wait_until("frame", || *b.sink.frames.lock().unwrap() == [frame(700)]);
    let genuine = packet[28..].to_vec();
    let to = b.inner().express_of().unwrap().to();
    let drops = |why: Drop| b.drops.get(why);
    let counted = |why: Drop, before: u64, n: u64| {
        wait_until(&format!("{n} {why:?} beyond {before}, {:?}", b.drops.all()), || b.drops.get(why) == before + n)
    };
    // Replayed, from where it came and from elsewhere.
    forge.send(&packet, &genuine);
    let mut elsewhere = packet.clone();
    elsewhere[12..16].copy_from_slice(&[10, 98, 1, 99]);
    forge.send(&elsewhere, &genuine);
    counted(Drop::SealReplayed, 0, 2);
    // Cut at every length; shorter than the header, and longer.
    for length in 1..genuine.len() {
        forge.send(&packet, &genuine[..length]);
    }
    counted(Drop::CarriageMalformed, 0, 11);
    counted(Drop::SealInvalid, 0, genuine.len() as u64 - 12);
    forge.send(&packet, &[&genuine[..], &[0]].concat());
    // An empty one says nothing to anybody.
    forge.send(&packet, &[]);
    // Each bit changed: those of the first byte make it another kind, or no express at all; those of the second another epoch.
    let invalid = drops(Drop::SealInvalid);
    let mut expected = 0;
    for byte in 0..genuine.len() {
        for bit in 0..8 {
            let mut changed = genuine.clone();
            changed[byte] ^= 1 << bit;
            forge.send(&packet, &changed);
            // Two are no express, and so libjuice's.
            expected += u64::from(byte > 0 || bit < 6);
        }
        // Not more at once than the socket has room for.
        wait_until("counted", || drops(Drop::SealEpoch) + drops(Drop::SealInvalid) >= invalid + expected);
    }
    assert_eq!(drops(Drop::SealEpoch), 8);
    assert_eq!(drops(Drop::SealInvalid), invalid + 1 + 8 * genuine.len() as u64 - 2 - 8);
    // Foreign ones of any kind, epoch and counter.
    let (epochs, invalid) = (drops(Drop::SealEpoch), drops(Drop::SealInvalid));
    for n in 0..=255u8 {
        let mut foreign = vec![n; 60];
        (foreign[0], foreign[1]) = (0xc0 | n, n);
        forge.send(&elsewhere, &foreign);
    }
    wait_until("counted", || drops(Drop::SealEpoch) + drops(Drop::SealInvalid) == epochs + invalid + 256);
    assert_eq!(*b.sink.frames.lock().unwrap(), [frame(700)], "nothing of it arrived");
    assert_eq!(b.inner().express_of().unwrap().to(), to, "nobody but the peer moves a link");
    b.sink.frames.lock().unwrap().clear();
    for (from, to) in [(&a, &b), (&b, &a)] {
        arrives(from, to, 1400);
        assert!(from.is_by_express());
    }
}

/// The process's memory that is its own, in KiB.
fn memory() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    field.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Uses and closes links by express, each in another way.
fn used_by_express(round: usize, a: &mut End, b: &mut End) {
    by_express(a, b, ["rekey_ms=100"; 2]);
    arrives(a, b, 1000);
    match round % 3 {
        0 => a.inner().lose("silent", "as if"),
        // The peer learns of it in the midst of traffic.
        1 => {
            (0..50).for_each(|_| b.transmit.transmit(&Frame::plain(&frame(1400))).unwrap());
            a.links.close(a.link).unwrap();
            b.transmit.flush();
        }
        _ => {}
    }
    let _ = a.links.close(a.link);
    b.links.close(b.link).unwrap();
}

#[test]
fn links_by_express_that_come_and_go_leave_neither_threads_nor_descriptors() {
    let Some(_guard) = network() else { return };
    come_and_go(3, used_by_express);
}

#[test]
#[ignore = "takes minutes: cargo test --release -p ipop-link -- --ignored"]
fn two_hundred_links_by_express_leave_neither_threads_nor_descriptors() {
    let Some(_guard) = network() else { return };
    come_and_go(200, used_by_express);
}

#[test]
#[ignore = "measures; run alone: cargo test --release -p ipop-link memory -- --ignored --nocapture"]
fn the_memory_of_64_links_by_express_is_at_most_60_mb() {
    const LINKS: usize = 64;
    let Some(_guard) = network() else { return };
    let queues = [(); 2].map(|()| Arc::new(RecordQueue::new().unwrap()));
    let links = [0, 1].map(|i: usize| start_links(queues[i].clone()));
    let before = memory();
    let mut pairs = Vec::new();
    for _ in 0..LINKS {
        let mut a = End::with(links[0].clone(), queues[0].clone(), Role::Offer, true);
        let mut b = End::with(links[1].clone(), queues[1].clone(), Role::Answer, true);
        bring_up(&mut a, &mut b);
        queues.iter().for_each(|queue| while queue.poll(&mut vec![0; 1 << 17]) > 0 {});
        by_express(&a, &b, [""; 2]);
        for length in [60, 1400, 9000, 60_000] {
            (0..40).for_each(|_| a.transmit.transmit(&Frame::plain(&frame(length))).unwrap());
            (0..40).for_each(|_| b.transmit.transmit(&Frame::plain(&frame(length))).unwrap());
            a.transmit.flush();
            b.transmit.flush();
        }
        pairs.push((a, b));
    }
    let of_one_side = (memory() - before) / 2;
    note(&format!("{LINKS} links: {of_one_side} KiB\n"));
    assert!(of_one_side < 60_000, "{of_one_side} KiB");
}
