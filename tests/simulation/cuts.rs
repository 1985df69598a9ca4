//! What can be left out of a scenario, one thing at a time, and how that is written down.

use crate::addresses::Lack;
use crate::plan::Plan;
use crate::scenario::Scenario;
use std::fmt;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// This client never comes.
    Drop(u64),
    /// The loop is neither stopped nor drained.
    Stop,
    /// The program is not replaced.
    Upgrade,
    /// This reload does not take place.
    Reload(u64),
    /// The kernel spares the proxy this of its habits.
    Calm(u64),
    /// The streams of this client are much shorter.
    Shorten(u64),
    /// This client and its target do nothing special.
    Plain(u64),
    /// What is left happens in another order.
    Reseed(u64),
}

/// How many habits of the kernel can be had off.
const HABITS: u64 = 8;

impl Cut {
    /// All that could be tried, the largest first. A seed moves on by itself.
    pub fn all(scenario: &Scenario) -> Vec<Cut> {
        let clients = 0..scenario.clients.len() as u64;
        let mut all: Vec<Cut> = clients.clone().rev().map(Cut::Drop).collect();
        all.extend([Cut::Stop, Cut::Upgrade]);
        all.extend((0..scenario.reloads.len() as u64).rev().map(Cut::Reload));
        all.extend((0..HABITS).map(Cut::Calm));
        all.extend(clients.clone().map(Cut::Plain));
        all.extend(clients.map(Cut::Shorten));
        all
    }

    /// Whether there was something to cut.
    pub fn apply(self, scenario: &mut Scenario) -> bool {
        let clients = &mut scenario.clients;
        match self {
            Cut::Drop(place) if clients.len() > 1 && place < clients.len() as u64 => {
                clients.remove(place as usize);
                true
            }
            Cut::Drop(_) => false,
            Cut::Stop => scenario.stop_at.take().is_some() | scenario.drain_at.take().is_some(),
            Cut::Upgrade => std::mem::take(&mut scenario.upgrades) > 0,
            Cut::Reload(number) => {
                let is_there = number < scenario.reloads.len() as u64;
                is_there.then(|| scenario.reloads.remove(number as usize)).is_some()
            }
            Cut::Calm(habit) => {
                let mood = &mut scenario.mood;
                match habit {
                    0 => std::mem::take(&mut mood.interrupts) > 0,
                    1 => std::mem::take(&mut mood.races) > 0,
                    2 => std::mem::take(&mut mood.short) > 0,
                    3 => std::mem::take(&mut mood.spurious) > 0,
                    4 => std::mem::take(&mut mood.want) > 0,
                    5 => std::mem::take(&mut mood.latency_ms) > 0,
                    6 => mood.jump_at.take().is_some(),
                    _ => std::mem::replace(&mut mood.lack, Lack::Nothing) != Lack::Nothing,
                }
            }
            Cut::Shorten(place) => clients.get_mut(place as usize).is_some_and(shorten),
            Cut::Plain(place) => clients.get_mut(place as usize).is_some_and(make_plain),
            Cut::Reseed(seed) => {
                scenario.kernel_seed = seed;
                true
            }
        }
    }
}

fn shorten(plan: &mut Plan) -> bool {
    let head = plan.request.len() as u64;
    let before = plan.up + plan.down + plan.early;
    (plan.up, plan.down, plan.early) = (plan.up / 8, plan.down / 8, plan.early / 8);
    // An end that came by itself still does.
    let limit = |at: &mut u64, total: u64| {
        if *at < u64::MAX {
            *at = total.min(*at);
        }
    };
    limit(&mut plan.end.1, head + plan.up);
    limit(&mut plan.target_end.1, plan.down);
    before > 0
}

fn make_plain(plan: &mut Plan) -> bool {
    let is_plain = !plan.is_in_turn
        && plan.urgent.is_empty()
        && plan.target_urgent.is_empty()
        && plan.burst.is_none()
        && (plan.reads, plan.target_reads) == (u64::MAX, u64::MAX);
    (plan.is_in_turn, plan.delay_ms) = (false, 0);
    plan.urgent.clear();
    plan.target_urgent.clear();
    (plan.burst, plan.reads, plan.target_reads) = (None, u64::MAX, u64::MAX);
    !is_plain
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cut::Drop(place) => write!(f, "drop-{place}"),
            Cut::Stop => f.write_str("stop-0"),
            Cut::Upgrade => f.write_str("upgrade-0"),
            Cut::Reload(number) => write!(f, "reload-{number}"),
            Cut::Calm(habit) => write!(f, "calm-{habit}"),
            Cut::Shorten(place) => write!(f, "shorten-{place}"),
            Cut::Plain(place) => write!(f, "plain-{place}"),
            Cut::Reseed(seed) => write!(f, "reseed-{seed}"),
        }
    }
}

impl FromStr for Cut {
    type Err = String;

    fn from_str(text: &str) -> Result<Cut, String> {
        let wrong = || format!("`{text}` is no cut");
        let (word, number) = text.split_once('-').ok_or_else(wrong)?;
        let number = number.parse().map_err(|_| wrong())?;
        match word {
            "drop" => Ok(Cut::Drop(number)),
            "stop" => Ok(Cut::Stop),
            "upgrade" => Ok(Cut::Upgrade),
            "reload" => Ok(Cut::Reload(number)),
            "calm" => Ok(Cut::Calm(number)),
            "shorten" => Ok(Cut::Shorten(number)),
            "plain" => Ok(Cut::Plain(number)),
            "reseed" => Ok(Cut::Reseed(number)),
            _ => Err(wrong()),
        }
    }
}
