// SPDX-License-Identifier: MIT
//! Threads, descriptors and time: what links take, and give back.

use super::*;

#[test]
fn no_thread_of_ours_or_of_libdatachannel_takes_signals() {
    let Some(_guard) = network() else { return };
    let before = threads();
    let (_a, _b) = up();
    let new: Vec<_> = threads().into_iter().filter(|thread| !before.contains(thread)).collect();
    assert!(new.len() > 6, "{new:?}");
    for thread in new {
        let Ok(status) = std::fs::read_to_string(format!("{thread}/status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        let blocked = u64::from_str_radix(&field("SigBlk:"), 16).unwrap();
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGUSR1, libc::SIGCHLD, libc::SIGPIPE] {
            assert!(blocked & (1 << (signal - 1)) != 0, "{} takes signal {signal}", field("Name:"));
        }
    }
}

/// Makes pairs of links, which `round` uses and closes, and counts threads and descriptors while all links are still known: a switch that
/// was given a link knows it until its next frame.
pub fn come_and_go(rounds: usize, round: impl Fn(usize, &mut End, &mut End)) {
    let queues = [(); 2].map(|()| Arc::new(RecordQueue::new().unwrap()));
    let links = [0, 1].map(|i: usize| start_links(queues[i].clone()));
    let mut known = Vec::new();
    let mut before = (0, 0);
    for number in 0..=rounds {
        let mut a = End::with(links[0].clone(), queues[0].clone(), Role::Offer, false);
        let mut b = End::with(links[1].clone(), queues[1].clone(), Role::Answer, false);
        bring_up(&mut a, &mut b);
        round(number, &mut a, &mut b);
        known.extend([a.transmit.clone(), b.transmit.clone()]);
        drop((a, b));
        wait_until("nobody else holds a link", || known.iter().all(|link| Arc::strong_count(link) == 1));
        queues.iter().for_each(|queue| while queue.poll(&mut vec![0; 1 << 17]) > 0 {});
        if number == 0 {
            // libdatachannel's threads end a little after their links.
            std::thread::sleep(Duration::from_millis(300));
            before = (count("/proc/self/task"), count("/proc/self/fd"));
        }
    }
    wait_until("threads ended", || count("/proc/self/task") <= before.0);
    wait_until("descriptors closed", || count("/proc/self/fd") <= before.1);
}

#[test]
fn nothing_remains_after_twenty_links() {
    let Some(_guard) = network() else { return };
    come_and_go(20, |_, a, b| [a, b].into_iter().for_each(|end| end.links.close(end.link).unwrap()));
}

#[test]
fn stop_ends_every_thread_within_3_s_even_when_links_are_up() {
    let Some(_guard) = network() else { return };
    let before = count("/proc/self/task");
    for _ in 0..3 {
        let (a, b) = up();
        let start = Instant::now();
        a.links.stop();
        b.links.stop();
        assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
        assert_eq!(
            a.links.open(&Registrar::default(), Role::Offer, &TextMap::default()).unwrap_err().errno,
            libc::ESHUTDOWN
        );
        wait_until("threads ended", || count("/proc/self/task") <= before);
    }
}

/// Makes this thread, and all it starts, ask a name server that never answers.
fn mute_name_server() {
    // SAFETY: takes no pointers; affects this thread only.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
    ip("neigh add 10.99.0.53 lladdr 02:00:00:00:00:53 dev v0 nud permanent");
    let file = std::env::temp_dir().join(format!("ipop-link-resolv-{}", std::process::id()));
    std::fs::write(&file, "nameserver 10.99.0.53\noptions timeout:2\n").unwrap();
    for line in ["--make-rprivate /", &format!("--bind {} /etc/resolv.conf", file.display())] {
        assert!(Command::new("mount").args(line.split(' ')).status().unwrap().success(), "mount {line}");
    }
    std::fs::remove_file(&file).unwrap();
}

/// An init script kills after 5 s, of which TypeScript's farewells take up to 2.5.
#[test]
fn stop_leaves_agents_behind_that_wait_for_a_name_server_after_2_s() {
    let Some(_guard) = network() else { return };
    mute_name_server();
    let links = start_links(Arc::new(RecordQueue::new().unwrap()));
    let config = TextMap::parse(b"server=stun:stun.example.org:3478").unwrap();
    links.open(&Registrar::default(), Role::Offer, &config).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    links.stop();
    assert!(start.elapsed() > Duration::from_secs(1), "the name server should not have answered");
    assert!(start.elapsed() < Duration::from_millis(2_400), "{:?}", start.elapsed());
}

#[test]
fn public_calls_return_at_once() {
    let Some(_guard) = network() else { return };
    let (mut a, mut b) = (End::new(Role::Offer), End::new(Role::Answer));
    bring_up(&mut a, &mut b);
    let mut worst = Duration::ZERO;
    let mut timed = |call: &mut dyn FnMut()| {
        let start = Instant::now();
        call();
        worst = worst.max(start.elapsed());
    };
    let registrar = Registrar::default();
    let config = TextMap::parse(b"server=stun:name.invalid:3478\nserver=turn:u:p@name.invalid:3478").unwrap();
    let mut opened = Vec::new();
    for _ in 0..8 {
        timed(&mut || opened.push(a.links.open(&registrar, Role::Offer, &config).unwrap()));
        timed(&mut || drop(a.links.info(a.link).unwrap()));
        timed(&mut || a.links.send(a.link, b"{}").unwrap());
    }
    for link in opened {
        timed(&mut || a.links.close(link).unwrap());
    }
    // 5 ms on an idle machine; the bound here allows for others that compile.
    assert!(worst < Duration::from_millis(50), "{worst:?}");
}
