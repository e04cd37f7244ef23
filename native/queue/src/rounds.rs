// SPDX-License-Identifier: MIT
//! Deficit round robin in which those that were silent come first (RFC 8290, 4.2).

use std::collections::VecDeque;

/// Whose turn it is. Members are numbers, counted from 0.
#[derive(Debug)]
pub struct Rounds {
    quantum: i64,
    new: VecDeque<u16>,
    old: VecDeque<u16>,
    members: Vec<Member>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Member {
    /// Bytes it may still send in this round.
    credit: i64,
    is_listed: bool,
}

impl Rounds {
    /// Nobody has a turn. `quantum`: bytes a round.
    pub fn new(quantum: usize) -> Self {
        Self { quantum: quantum as i64, new: VecDeque::new(), old: VecDeque::new(), members: Vec::new() }
    }

    /// This one has something to send; one that had nothing until now comes before those that go on sending.
    pub fn activate(&mut self, member: usize) {
        if self.members.len() <= member {
            self.members.resize(member + 1, Member::default());
        }
        let entry = &mut self.members[member];
        if !entry.is_listed {
            *entry = Member { credit: self.quantum, is_listed: true };
            self.new.push_back(member as u16);
        }
    }

    /// Whose turn it is.
    pub fn turn(&mut self) -> Option<usize> {
        loop {
            let list = if self.new.is_empty() { &mut self.old } else { &mut self.new };
            let member = *list.front()?;
            let entry = &mut self.members[usize::from(member)];
            if entry.credit > 0 {
                return Some(member.into());
            }
            entry.credit += self.quantum;
            list.pop_front();
            self.old.push_back(member);
        }
    }

    /// The one whose turn it is sends so much.
    pub fn charge(&mut self, member: usize, bytes: usize) {
        self.members[member].credit -= bytes as i64;
    }

    /// The one whose turn it is has nothing. Who came first is kept for a round: else, who sends little and often would always come first.
    pub fn pass(&mut self) {
        if let Some(member) = self.new.pop_front() {
            self.old.push_back(member);
        } else if let Some(member) = self.old.pop_front() {
            self.members[usize::from(member)].is_listed = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_equal_in_bytes_whatever_the_size_of_what_is_sent() {
        let mut rounds = Rounds::new(1500);
        let (sizes, mut sent) = ([65_000, 1500, 100], [0usize; 3]);
        (0..3).for_each(|member| rounds.activate(member));
        while sent.iter().sum::<usize>() < 30_000_000 {
            let member = rounds.turn().unwrap();
            rounds.charge(member, sizes[member]);
            sent[member] += sizes[member];
        }
        assert!(sent.iter().all(|bytes| bytes.abs_diff(10_000_000) <= 65_000), "{sent:?}");
    }

    #[test]
    fn who_was_silent_comes_first_and_only_once_a_round() {
        let mut rounds = Rounds::new(1000);
        (0..2).for_each(|member| rounds.activate(member));
        for _ in 0..4 {
            let member = rounds.turn().unwrap();
            rounds.charge(member, 1500);
        }
        rounds.activate(2);
        assert_eq!(rounds.turn(), Some(2));
        rounds.charge(2, 100);
        rounds.pass();
        // It speaks again at once: still listed, and not new.
        rounds.activate(2);
        assert!(rounds.new.is_empty() && rounds.old.back() == Some(&2));
    }

    #[test]
    fn nobody_has_a_turn_when_all_have_passed() {
        let mut rounds = Rounds::new(1000);
        assert_eq!(rounds.turn(), None);
        rounds.activate(7);
        assert_eq!(rounds.turn(), Some(7));
        rounds.pass();
        assert_eq!(rounds.turn(), Some(7));
        rounds.pass();
        assert_eq!(rounds.turn(), None);
    }
}
