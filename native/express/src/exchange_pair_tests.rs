// SPDX-License-Identifier: MIT
//! Two sides, a control channel that keeps its order, and datagrams that do not, in virtual time.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use ring::rand::SystemRandom;

use super::*;
use crate::keys::{Binding, Party};

pub(super) fn binding() -> Binding {
    Binding {
        offerer: Party { id: [1; 20], fingerprint: [2; 32] },
        answerer: Party { id: [3; 20], fingerprint: [4; 32] },
        generation: 5,
    }
}

pub(super) const OFFERER: usize = 0;
pub(super) const ANSWERER: usize = 1;

struct Datagram {
    at_ms: u64,
    epoch: u32,
    counter: u64,
    bytes: Vec<u8>,
}

pub(super) struct Side {
    exchange: Exchange,
    pub open: BTreeMap<u32, OpenKey>,
    pub seal: Option<(u32, SealKey)>,
    counter: u64,
    /// What `tick` is told; a test may put it to the limit.
    pub sealed: u64,
    pub refused: Vec<String>,
    pub failed: Vec<String>,
    /// On the way from this side.
    messages: VecDeque<(u64, Vec<u8>)>,
    datagrams: Vec<Datagram>,
    pub delay_ms: u64,
    pub lost: usize,
}

pub(super) struct Pair {
    pub now: u64,
    pub sides: [Side; 2],
    /// Whether neither side may ever seal what the other cannot open: so unless the control channel stands still for long.
    is_strict: bool,
}

impl Pair {
    pub fn new(params: [Params; 2], is_strict: bool) -> Self {
        let side = |role, params| Side {
            exchange: Exchange::new(role, binding(), params, 0),
            open: BTreeMap::new(),
            seal: None,
            counter: 0,
            sealed: 0,
            refused: Vec::new(),
            failed: Vec::new(),
            messages: VecDeque::new(),
            datagrams: Vec::new(),
            delay_ms: 20,
            lost: 0,
        };
        let [offerer, answerer] = params;
        Self { now: 0, sides: [side(Role::Offerer, offerer), side(Role::Answerer, answerer)], is_strict }
    }

    /// Runs all that happens until then.
    pub fn run(&mut self, until_ms: u64) {
        loop {
            let next = self.sides.iter().map(Side::next_ms).min().expect("two sides").max(self.now);
            if next > until_ms {
                self.now = until_ms;
                return;
            }
            self.now = next;
            for who in [OFFERER, ANSWERER] {
                self.tick(who);
                self.deliver(who);
            }
        }
    }

    pub fn tick(&mut self, who: usize) {
        let side = &mut self.sides[who];
        let actions = side.exchange.tick(side.sealed, self.now, &SystemRandom::new());
        self.apply(who, actions);
        assert!(self.sides[who].exchange.next_ms() > self.now, "a tick must not be due again at once");
    }

    pub fn unknown(&mut self, who: usize) {
        self.sides[who].exchange.unknown();
    }

    /// Seals a datagram; nothing happens on a side that cannot.
    pub fn datagram(&mut self, who: usize, delay_ms: u64) {
        let side = &mut self.sides[who];
        let Some((epoch, seal)) = &side.seal else { return };
        let mut bytes = b"frame".to_vec();
        let tag = seal.seal(&[0; 12], side.counter, &mut bytes);
        bytes.extend(tag);
        side.datagrams.push(Datagram { at_ms: self.now + delay_ms, epoch: *epoch, counter: side.counter, bytes });
        side.counter += 1;
    }

    /// What `from` sent and is due.
    fn deliver(&mut self, from: usize) {
        let to = 1 - from;
        while self.sides[from].messages.front().is_some_and(|(at_ms, _)| *at_ms <= self.now) {
            let (_, bytes) = self.sides[from].messages.pop_front().expect("looked at");
            let actions = self.sides[to].exchange.message(&bytes, self.now, &SystemRandom::new());
            self.apply(to, actions);
        }
        while let Some(at) = self.sides[from].datagrams.iter().position(|datagram| datagram.at_ms <= self.now) {
            let mut datagram = self.sides[from].datagrams.swap_remove(at);
            let side = &mut self.sides[to];
            // As on the wire: only 8 bits of the epoch.
            let key = side.open.iter().find(|(epoch, _)| **epoch as u8 == datagram.epoch as u8);
            let Some((&epoch, key)) = key else {
                side.lost += 1;
                side.exchange.unknown();
                continue;
            };
            assert_eq!(epoch, datagram.epoch, "8 bits tell the epochs apart");
            let body = key.open(&[0; 12], datagram.counter, &mut datagram.bytes).expect("both have the same keys");
            assert_eq!(body, b"frame");
            let actions = side.exchange.opened(u32::from(epoch as u8), self.now);
            self.apply(to, actions);
        }
    }

    pub fn apply(&mut self, who: usize, actions: Vec<Action>) {
        for action in actions {
            self.sides[who].apply(action, self.now);
            for (from, to) in [(OFFERER, ANSWERER), (ANSWERER, OFFERER)] {
                let Some((epoch, _)) = self.sides[from].seal else { continue };
                let can_open = self.sides[to].open.contains_key(&epoch);
                assert!(can_open || !self.is_strict, "at {} ms {from} seals with {epoch}, lost on {to}", self.now);
            }
        }
    }

    /// The epoch that both seal with, once the exchange that may be going on has ended.
    fn settled(&mut self) -> Option<u32> {
        let until_ms = self.now + 20_000;
        while self.epoch().is_none() && self.now < until_ms {
            self.run(self.now + 100);
        }
        self.epoch()
    }

    /// The epoch that both seal with.
    pub fn epoch(&self) -> Option<u32> {
        let [offerer, answerer] = self.sides.each_ref().map(|side| side.seal.as_ref().map(|(epoch, _)| *epoch));
        offerer.filter(|_| offerer == answerer)
    }
}

impl Side {
    pub fn exchange(&mut self) -> &mut Exchange {
        &mut self.exchange
    }

    fn next_ms(&self) -> u64 {
        let message = self.messages.front().map_or(u64::MAX, |(at_ms, _)| *at_ms);
        let datagram = self.datagrams.iter().map(|datagram| datagram.at_ms).min().unwrap_or(u64::MAX);
        self.exchange.next_ms().min(message).min(datagram)
    }

    fn apply(&mut self, action: Action, now: u64) {
        match action {
            Action::Send(bytes) => {
                let last = self.messages.back().map_or(0, |(at_ms, _)| *at_ms);
                self.messages.push_back(((now + self.delay_ms).max(last), bytes));
            }
            Action::Open(epoch, key) => {
                assert!(self.open.keys().all(|&open| open as u8 != epoch as u8), "8 bits tell the epochs apart");
                assert!(self.open.insert(epoch, key).is_none());
                assert!(self.open.len() <= 2, "{:?}", self.open.keys());
            }
            Action::Seal(epoch, key) => {
                assert!(self.open.contains_key(&epoch), "who seals with an epoch can open it");
                assert!(self.seal.as_ref().is_none_or(|(old, _)| *old < epoch));
                (self.seal, self.sealed) = (Some((epoch, key)), 0);
            }
            Action::Forget(epoch) => {
                assert!(self.open.remove(&epoch).is_some());
                assert!(self.seal.as_ref().is_none_or(|(sealing, _)| *sealing != epoch));
            }
            Action::Refused(why) => self.refused.push(why),
            Action::Failed(why) => {
                (self.seal, self.sealed) = (None, 0);
                self.failed.push(why);
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Delay(usize, u64),
    Unknown(usize),
    UsedUp(usize),
    Datagram(usize, u64),
}

fn steps(delay_ms: u64) -> impl Strategy<Value = Vec<Step>> {
    let side = 0..2usize;
    let step = prop_oneof![
        6 => (0..3_000u64).prop_map(Step::Wait),
        2 => (3_000..60_000u64).prop_map(Step::Wait),
        3 => (side.clone(), 0..delay_ms).prop_map(|(side, ms)| Step::Delay(side, ms)),
        3 => side.clone().prop_map(Step::Unknown),
        1 => side.clone().prop_map(Step::UsedUp),
        4 => (side, 0..2_000u64).prop_map(|(side, ms)| Step::Datagram(side, ms)),
    ];
    prop::collection::vec(step, 1..120)
}

fn play(pair: &mut Pair, steps: Vec<Step>) {
    for step in steps {
        match step {
            Step::Wait(ms) => pair.run(pair.now + ms),
            Step::Delay(who, ms) => pair.sides[who].delay_ms = ms,
            Step::Unknown(who) => pair.unknown(who),
            Step::UsedUp(who) => {
                pair.sides[who].sealed = u64::MAX;
                pair.tick(who);
            }
            Step::Datagram(who, ms) => pair.datagram(who, ms),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn at_no_moment_one_side_seals_with_an_epoch_that_the_other_cannot_open(steps in steps(4_500)) {
        let mut pair = Pair::new([Params::default(); 2], true);
        play(&mut pair, steps);
        let before = pair.sides[OFFERER].seal.as_ref().map_or(0, |(epoch, _)| *epoch);
        pair.run(pair.now + 150_000);
        let epoch = pair.settled();
        prop_assert!(epoch.is_some_and(|epoch| epoch > before), "{:?} after {}", epoch, before);
        for side in &pair.sides {
            prop_assert_eq!((&side.refused[..], &side.failed[..], side.lost), (&[][..], &[][..], 0));
        }
    }

    #[test]
    fn after_a_control_channel_that_stood_still_for_minutes_both_agree_again(steps in steps(200_000)) {
        let mut pair = Pair::new([Params::default(); 2], false);
        play(&mut pair, steps);
        for side in &mut pair.sides {
            side.delay_ms = 20;
        }
        // What still stands in the channel comes out first.
        pair.run(pair.now + 500_000);
        prop_assert!(pair.settled().is_some());
        let lost: usize = pair.sides.iter().map(|side| side.lost).sum();
        for who in [OFFERER, ANSWERER] {
            pair.datagram(who, 1_000);
        }
        pair.run(pair.now + 1_000);
        prop_assert_eq!(pair.sides.iter().map(|side| side.lost).sum::<usize>(), lost);
    }
}
