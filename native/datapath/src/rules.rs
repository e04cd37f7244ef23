// SPDX-License-Identifier: MIT
//! The rule table: TypeScript's decisions, cached. Two look-ups for each frame: is the source bound to this port, where does the
//! destination go.
//!
//! One lock that readers share, around one hash map: both look-ups are made under a single read lock, and writers (a few hundred a second
//! at most) hold it for one insertion. The map's hasher is seeded, because addresses come from strangers. Use counters are atomics, so a hit
//! writes nothing but them; rules are shared with the caches in front of this table, which count their hits there, too.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ipop_base::{Error, Handle, Result};

use crate::generation::Generation;
use crate::parse::{Address, Headers};
use crate::upcall::Miss;

/// Enough for a LAN of several thousand hosts; about 0.6 MB when full.
pub const MAX_RULES: usize = 8192;
/// Bytes of a rule in a dump.
pub const DUMP_ENTRY: usize = 28;

/// (VLAN, address).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(u64);

impl Key {
    pub fn new(vlan: u16, mac: Address) -> Self {
        let [a, b, c, d, e, f] = mac;
        let [high, low] = vlan.to_be_bytes();
        Self(u64::from_be_bytes([high, low, a, b, c, d, e, f]))
    }

    /// The address in the low 48 bits, the VLAN above.
    pub fn bits(self) -> u64 {
        self.0
    }

    fn mac(self) -> Address {
        let [_, _, mac @ ..] = self.0.to_be_bytes();
        mac
    }

    fn vlan(self) -> u16 {
        (self.0 >> 48) as u16
    }
}

/// One rule. It never changes but for its counters; another `out` is another rule.
pub struct Rule {
    /// A port, OUT_FLOOD or OUT_DROP.
    pub out: i32,
    source: Stamp,
    destination: Stamp,
    hits: AtomicU64,
}

impl Rule {
    fn new(out: i32) -> Self {
        Self { out, source: Stamp::default(), destination: Stamp::default(), hits: AtomicU64::new(0) }
    }

    /// The same, with its counters, leading elsewhere.
    fn leading_to(&self, out: i32) -> Self {
        let hits = AtomicU64::new(self.hits.load(Ordering::Relaxed));
        Self { out, source: self.source.copy(), destination: self.destination.copy(), hits }
    }

    /// A frame came from its address.
    pub fn hit_as_source(&self, now_ms: u64) {
        self.hit(&self.source, now_ms);
    }

    /// A frame goes to its address.
    pub fn hit_as_destination(&self, now_ms: u64) {
        self.hit(&self.destination, now_ms);
    }

    fn hit(&self, stamp: &Stamp, now_ms: u64) {
        stamp.set(now_ms);
        self.hits.fetch_add(1, Ordering::Relaxed);
    }
}

/// When something last happened; 0 is never, else milliseconds + 1.
#[derive(Default)]
struct Stamp(AtomicU64);

impl Stamp {
    /// Written only when it changes, so that threads that hit one rule do not fight for its cache line more than they must.
    fn set(&self, now_ms: u64) {
        if self.0.load(Ordering::Relaxed) != now_ms + 1 {
            self.0.store(now_ms + 1, Ordering::Relaxed);
        }
    }

    fn copy(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }

    /// Milliseconds since then; `u32::MAX` is never.
    fn idle_ms(&self, now_ms: u64) -> u32 {
        match self.0.load(Ordering::Relaxed) {
            0 => u32::MAX,
            stamp => (now_ms + 1).saturating_sub(stamp).min(u64::from(u32::MAX) - 1) as u32,
        }
    }
}

type Table = HashMap<Key, Arc<Rule>>;

/// The rule table.
pub struct Rules {
    table: RwLock<Table>,
    generation: Generation,
}

impl Rules {
    /// An empty table whose changes are counted in `generation`.
    pub fn new(generation: Generation) -> Self {
        Self { table: RwLock::default(), generation }
    }

    /// Judges a frame that came in at the port `bound`, which is asked under the table's lock: `found` gets the rules of its source and destination, under the table's lock. Only a rule
    /// that leads to a port binds a source to it.
    pub fn judge<T>(
        &self,
        headers: &Headers,
        bound: impl FnOnce() -> Handle,
        now_ms: u64,
        found: impl FnOnce(&Arc<Rule>, &Arc<Rule>) -> T,
    ) -> std::result::Result<T, Miss> {
        let rules = self.read();
        let port = bound();
        let from = match rules.get(&Key::new(headers.vlan, headers.source)) {
            Some(rule) if rule.out == port => rule,
            Some(rule) if rule.out > 0 => return Err(Miss::Moved),
            _ => return Err(Miss::Source),
        };
        from.hit_as_source(now_ms);
        let to = rules.get(&Key::new(headers.vlan, headers.destination)).ok_or(Miss::Destination)?;
        to.hit_as_destination(now_ms);
        Ok(found(from, to))
    }

    /// Sets a rule; one that already leads there keeps its counters. `allowed` is asked under the table's lock, so that a port that goes
    /// at the same time keeps no rule. ENOSPC over 8192 rules.
    pub fn set(&self, key: Key, out: i32, allowed: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut rules = self.write();
        allowed()?;
        match rules.get(&key) {
            Some(rule) if rule.out == out => return Ok(()),
            None if rules.len() >= MAX_RULES => {
                return Err(Error::new(libc::ENOSPC, format!("cannot set a rule: there are {MAX_RULES} already")));
            }
            _ => {}
        }
        self.generation.count();
        rules.insert(key, Arc::new(Rule::new(out)));
        Ok(())
    }

    /// Deletes a rule; false when there is none.
    pub fn delete(&self, key: Key) -> bool {
        let mut rules = self.write();
        self.generation.count();
        rules.remove(&key).is_some()
    }

    /// Leads the rules of one port to another; `meanwhile` runs before anything is judged by them.
    pub fn lead(&self, from: Handle, to: Handle, meanwhile: impl FnOnce()) {
        let mut rules = self.write();
        self.generation.count();
        meanwhile();
        for rule in rules.values_mut().filter(|rule| rule.out == from) {
            *rule = Arc::new(rule.leading_to(to));
        }
    }

    /// Deletes the rules that lead to a port, or all when it is 0; returns how many.
    pub fn flush(&self, port: Handle) -> usize {
        let mut rules = self.write();
        self.generation.count();
        let before = rules.len();
        rules.retain(|_, rule| port != 0 && rule.out != port);
        before - rules.len()
    }

    /// Writes rules from index `start` on, as many as `buf` holds, in the form of ipop.h; returns how many.
    pub fn dump(&self, start: usize, buf: &mut [u8], now_ms: u64) -> usize {
        let rules = self.read();
        let entries = buf.chunks_exact_mut(DUMP_ENTRY);
        entries.zip(rules.iter().skip(start)).map(|(entry, (key, rule))| write_entry(entry, *key, rule, now_ms)).count()
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_entry(entry: &mut [u8], key: Key, rule: &Rule, now_ms: u64) {
    entry[..6].copy_from_slice(&key.mac());
    entry[6..8].copy_from_slice(&key.vlan().to_le_bytes());
    entry[8..12].copy_from_slice(&rule.out.to_le_bytes());
    entry[12..16].copy_from_slice(&rule.source.idle_ms(now_ms).to_le_bytes());
    entry[16..20].copy_from_slice(&rule.destination.idle_ms(now_ms).to_le_bytes());
    entry[20..28].copy_from_slice(&rule.hits.load(Ordering::Relaxed).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Address = [2, 0, 0, 0, 0, 1];

    fn set(rules: &Rules, vlan: u16, mac: Address, out: i32) -> Result<()> {
        rules.set(Key::new(vlan, mac), out, || Ok(()))
    }

    #[test]
    fn a_dump_has_the_layout_of_the_header() {
        let rules = Rules::new(Generation::default());
        set(&rules, 0x0102, MAC, 7).unwrap();
        let headers = Headers { destination: MAC, source: MAC, vlan: 0x0102, ethertype: 0, payload: 14 };
        assert_eq!(rules.judge(&headers, || 7, 1000, |from, to| (from.out, to.out)), Ok((7, 7)));
        let mut entry = [0; DUMP_ENTRY];
        assert_eq!(rules.dump(0, &mut entry, 1500), 1);
        let expected =
            [&[2, 0, 0, 0, 0, 1, 2, 1, 7, 0, 0, 0][..], &[0xf4, 1, 0, 0], &[0xf4, 1, 0, 0], &[2, 0, 0, 0, 0, 0, 0, 0]];
        assert_eq!(entry[..], expected.concat());
    }

    #[test]
    fn a_rule_that_was_never_hit_is_idle_for_ever() {
        let rules = Rules::new(Generation::default());
        set(&rules, 0, MAC, -1).unwrap();
        let mut entry = [0; DUMP_ENTRY];
        rules.dump(0, &mut entry, u64::from(u32::MAX) * 2);
        assert_eq!(entry[12..20], [0xff; 8]);
    }

    #[test]
    fn setting_a_rule_again_keeps_its_counters_and_setting_another_way_does_not() {
        let rules = Rules::new(Generation::default());
        let hits = |rules: &Rules| {
            let mut entry = [0; DUMP_ENTRY];
            rules.dump(0, &mut entry, 0);
            entry[20]
        };
        let headers = Headers { destination: MAC, source: MAC, vlan: 0, ethertype: 0, payload: 14 };
        set(&rules, 0, MAC, 7).unwrap();
        rules.judge(&headers, || 7, 0, |_, _| ()).unwrap();
        set(&rules, 0, MAC, 7).unwrap();
        assert_eq!(hits(&rules), 2);
        set(&rules, 0, MAC, 8).unwrap();
        assert_eq!(hits(&rules), 0);
    }

    #[test]
    fn the_table_is_bounded_but_its_rules_can_still_be_replaced() {
        let rules = Rules::new(Generation::default());
        let mac = |n: usize| [2, 0, 0, 0, (n >> 8) as u8, n as u8];
        (0..MAX_RULES).for_each(|n| set(&rules, 0, mac(n), 1).unwrap());
        assert_eq!(set(&rules, 0, mac(MAX_RULES), 1).unwrap_err().errno, libc::ENOSPC);
        set(&rules, 0, mac(0), 2).unwrap();
        assert_eq!(rules.flush(2), 1);
        assert_eq!(rules.flush(0), MAX_RULES - 1);
    }

    #[test]
    fn dumping_in_pieces_gives_each_rule_once() {
        let rules = Rules::new(Generation::default());
        (0..100).for_each(|n| set(&rules, n, MAC, 1).unwrap());
        let mut seen = std::collections::BTreeSet::new();
        let mut buf = [0; DUMP_ENTRY * 7 + 5];
        loop {
            let count = rules.dump(seen.len(), &mut buf, 0);
            if count == 0 {
                break;
            }
            buf.chunks_exact(DUMP_ENTRY).take(count).for_each(|entry| assert!(seen.insert(entry[6..8].to_vec())));
        }
        assert_eq!(seen.len(), 100);
    }
}
