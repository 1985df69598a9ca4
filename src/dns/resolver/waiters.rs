//! Waiters come, join questions, and get the answers.

use std::net::IpAddr;

use super::super::cache::{AddressResult, MISSING_FAMILY_TTL_S};
use super::super::family::{Family, QuestionKey, alternate};
use super::super::ordered::{key_of, pair};
use super::super::waiter::{Waiter, most_significant};
use super::super::{DnsError, Resolved};
use super::Resolver;
use crate::name::Name;

/// Waiters come and go.
impl Resolver {
    pub(super) fn insert_waiter(&mut self, number: u64, waiter: Waiter) {
        self.deadlines.insert(pair(waiter.deadline, number), number);
        self.waiters.insert(number, waiter);
    }

    pub(super) fn remove_waiter(&mut self, number: u64) -> Option<Waiter> {
        let waiter = self.waiters.remove(number)?;
        self.deadlines.remove(&pair(waiter.deadline, number));
        Some(waiter)
    }

    fn push_answer(&mut self, waiter: u64, answer: Result<Resolved, DnsError>) {
        let place = self.next_serial();
        self.answers.insert(place, (waiter, answer));
        self.answered.insert(waiter.into(), place);
    }

    /// Moves a waiter on to the next name that is not cached as missing. `None`: it waits for the
    /// name's questions, which are queued.
    pub(super) fn advance(
        &mut self,
        now: u64,
        number: u64,
        waiter: &mut Waiter,
    ) -> Option<Result<Resolved, DnsError>> {
        while let Some(name) = waiter.names_left.pop_front() {
            let [v6, v4] = self.cached_answers(now, &name);
            let v6 = v6.map(|answer| (Family::V6, answer));
            match (v6, v4) {
                (Some(v6), Some(v4)) => match self.combine(now, &name, v6, v4) {
                    Ok(addresses) => return Some(Ok(Resolved { name, addresses })),
                    Err(error) => waiter.error = most_significant(waiter.error, error),
                },
                (v6, v4) => {
                    waiter.asking = Some(name);
                    waiter.first = v6.or(v4.map(|answer| (Family::V4, answer)));
                    // Once for each name: its two questions begin with the same server.
                    self.rotation = self.rotation.wrapping_add(usize::from(self.settings.rotate));
                    for question in waiter.questions() {
                        self.join(number, waiter.source, &question);
                        if waiter.has_addresses() {
                            self.cut_off(now, &question, None);
                        }
                    }
                    return None;
                }
            }
        }
        Some(Err(waiter.error))
    }

    /// What is known of the IPv6 and the IPv4 addresses of a name.
    fn cached_answers(&mut self, now: u64, name: &Name) -> [Option<AddressResult>; 2] {
        let v4 = self.ask_cache(now, &QuestionKey::new(name, Family::V4));
        let v6 = match self.settings.aaaa {
            true => self.ask_cache(now, &QuestionKey::new(name, Family::V6)),
            // The error that says the least: that of IPv4 counts.
            false => Some(Err(DnsError::NotFound)),
        };
        [v6, v4]
    }

    /// What the cache says, counted.
    fn ask_cache(&mut self, now: u64, question: &QuestionKey) -> Option<AddressResult> {
        let answer = self.cache.get(now, question);
        match answer {
            Some(_) => self.counters.cache_hits += 1,
            None => self.counters.cache_misses += 1,
        }
        answer
    }

    /// Adds a waiter to a question, which is created if there is none.
    fn join(&mut self, number: u64, source: IpAddr, asked: &QuestionKey) {
        if let Some(question) = self.questions.get_mut(asked) {
            question.waiters.insert(number.into(), number);
            *question.sources.entry(key_of(source)).or_default() += 1;
            let payer = question.payer;
            // In the queue of a source with many, it would wait longer than if this source asked
            // alone.
            if self.shares.load(source) + 1 < self.shares.load(payer) {
                self.charge(asked, source);
            }
        } else {
            self.insert_question(asked.clone(), source, number);
        }
    }

    /// Removes a waiter, which is no longer listed, from its questions.
    pub(super) fn leave(&mut self, number: u64, waiter: &Waiter) {
        for asked in waiter.questions() {
            let Some(question) = self.questions.get_mut(&asked) else { continue };
            question.waiters.remove(&number.into());
            let source = key_of(waiter.source);
            let waiting = question.sources.entry(source).or_default();
            *waiting = waiting.saturating_sub(1);
            if *waiting == 0 {
                question.sources.remove(&source);
            }
            if question.waiters.is_empty() {
                self.remove_question(&asked);
            } else if !question.sources.contains_key(&key_of(question.payer)) {
                let payer = question.lightest(&self.shares);
                self.charge(&asked, payer);
            }
        }
    }

    /// Waiters that have one answer of a replaced server ask that question again.
    pub(super) fn rejoin(&mut self) {
        let aaaa = self.settings.aaaa;
        let asks_again = |family| aaaa || family != Family::V6;
        for number in self.deadlines.values().copied().collect::<Vec<_>>() {
            let Some(waiter) = self.waiters.get_mut(number) else { continue };
            let first = waiter.first.take_if(|(family, _)| asks_again(*family));
            if let (Some((family, _)), Some(name)) = (first, &waiter.asking) {
                let (source, question) = (waiter.source, QuestionKey::new(name, family));
                self.join(number, source, &question);
            }
        }
    }
}

/// Answers.
impl Resolver {
    /// A question has ended: its waiters wait for the other family, are done, or move on to their
    /// next name.
    pub(super) fn answer(&mut self, now: u64, asked: &QuestionKey, answer: AddressResult) {
        let Some(question) = self.remove_question(asked) else { return };
        match answer {
            Ok(_) => self.cut_off(now, &asked.other(), None),
            // A name that does not exist has no address of either family (RFC 8020). Only A is
            // believed, and not beside an answer: some servers deny every name that has no IPv6
            // address when asked for AAAA (RFC 4074 section 4.2), and others the reverse.
            Err(error @ DnsError::NotFound) if asked.family == Family::V4 => {
                self.cut_off(now, &asked.other(), Some(error));
            }
            Err(_) => {}
        }
        // Thousands may have the same first answer; they share the result.
        let mut latest: Option<(AddressResult, AddressResult)> = None;
        for number in question.waiters.into_values() {
            let Some(waiter) = self.waiters.get_mut(number) else { continue };
            let Some(first) = waiter.first.take() else {
                waiter.first = Some((asked.family, answer.clone()));
                continue;
            };
            let both = match latest.take().filter(|(same, _)| *same == first.1) {
                Some((_, both)) => both,
                None => self.combine(now, &asked.name, first.clone(), answer.clone()),
            };
            latest = Some((first.1, both.clone()));
            self.conclude(now, number, both);
        }
    }

    /// Both questions of a waiter's name have ended.
    fn conclude(&mut self, now: u64, number: u64, answer: AddressResult) {
        let Some(mut waiter) = self.remove_waiter(number) else { return };
        let Some(name) = waiter.asking.take() else { return };
        let done = match answer {
            Ok(addresses) => Some(Ok(Resolved { name, addresses })),
            // As in glibc, a failure that took time ends the search.
            Err(DnsError::Timeout) => Some(Err(DnsError::Timeout)),
            Err(error) => {
                waiter.error = most_significant(waiter.error, error);
                self.advance(now, number, &mut waiter)
            }
        };
        match done {
            Some(answer) => self.push_answer(number, answer),
            None => self.insert_waiter(number, waiter),
        }
    }

    /// A waiter's time is over: it gets the addresses that it has, if any.
    pub(super) fn time_out(&mut self, now: u64, number: u64) {
        let Some(mut late) = self.remove_waiter(number) else { return };
        self.leave(number, &late);
        let answer = match (late.asking.take(), late.first.take()) {
            (Some(name), Some(first)) => {
                let both = self.combine(now, &name, first, Err(DnsError::Timeout));
                both.map(|addresses| Resolved { name, addresses })
            }
            _ => Err(DnsError::Timeout),
        };
        self.push_answer(number, answer);
    }

    /// The answer to both questions about a name, of which one came first. Where only one family
    /// has addresses, the next waiters do not wait for the other for a while, be it that it failed,
    /// was late, or has none and nothing says for how long (RFC 2308 section 5).
    fn combine(
        &mut self,
        now: u64,
        name: &Name,
        (family, first): (Family, AddressResult),
        second: AddressResult,
    ) -> AddressResult {
        let (missing, error, addresses) = match (first, second) {
            (Ok(first), Ok(second)) => return Ok(alternate(&first, &second).into()),
            (Err(one), Err(other)) => return Err(most_significant(one, other)),
            (Ok(addresses), Err(error)) => (family.other(), error, addresses),
            (Err(error), Ok(addresses)) => (family, error, addresses),
        };
        let missing = QuestionKey::new(name, missing);
        // A host without IPv6 asks again at once for IPv4 addresses that were late. What is kept
        // already is not prolonged: it would never be asked again.
        let is_late_ipv4 = missing.family == Family::V4 && error == DnsError::Timeout;
        if !is_late_ipv4 && self.cache.get(now, &missing).is_none() {
            self.cache.insert(now, &missing, &Err(error), MISSING_FAMILY_TTL_S);
        }
        Ok(addresses)
    }
}
