//! CPU time and memory of a process and its descendants.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::Duration;

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// A process with all its descendants.
#[derive(Clone, Copy)]
pub struct Tree {
    root: i32,
}

/// CPU time of each process of a tree at one moment.
pub struct CpuSample {
    by_pid: HashMap<i32, Duration>,
    /// Children that have ended and were waited for; in clock ticks, thus coarse.
    ended: Duration,
}

/// Memory of a tree, in bytes.
#[derive(Clone, Copy, Default)]
pub struct Memory {
    /// Pages present, shared ones counted in every process.
    pub rss: u64,
    /// Pages present, shared ones divided by the number of sharers.
    pub pss: u64,
}

impl Tree {
    /// The tree below the process `root`.
    pub fn new(root: i32) -> Tree {
        Tree { root }
    }

    /// Root and descendants, as far as they are alive.
    fn pids(self) -> Vec<i32> {
        let mut pids = vec![self.root];
        let mut at = 0;
        while let Some(&pid) = pids.get(at) {
            at += 1;
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for task in tasks.flatten() {
                let children = fs::read_to_string(task.path().join("children"));
                pids.extend(
                    children.unwrap_or_default().split_whitespace().flat_map(str::parse::<i32>),
                );
            }
        }
        pids
    }

    /// The scheduler's run time of every process, threads that have ended included.
    pub fn cpu(self) -> CpuSample {
        let pids = self.pids();
        let ended = pids.iter().map(|&pid| ended_children(pid).unwrap_or_default()).sum();
        let by_pid = pids.into_iter().flat_map(|pid| Some((pid, run_time(pid)?))).collect();
        CpuSample { by_pid, ended }
    }

    /// The memory of every process, added up.
    pub fn memory(self) -> io::Result<Memory> {
        let mut sum = Memory::default();
        for pid in self.pids() {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            sum.rss += kib_field(&text, "Rss:") * 1024;
            sum.pss += kib_field(&text, "Pss:") * 1024;
        }
        Ok(sum)
    }
}

impl CpuSample {
    /// CPU seconds used since `earlier`, a sample of the same tree.
    pub fn seconds_since(&self, earlier: &CpuSample) -> f64 {
        let alive: Duration = self
            .by_pid
            .iter()
            .map(|(pid, now)| {
                now.saturating_sub(earlier.by_pid.get(pid).copied().unwrap_or_default())
            })
            .sum();
        (alive + self.ended.saturating_sub(earlier.ended)).as_secs_f64()
    }
}

/// The CPU clock of another process: the same figure as the sum of its tasks' schedstat, but it
/// keeps the time of threads that have ended and is up to date for those that run right now.
fn run_time(pid: i32) -> Option<Duration> {
    Some(clock_getcpuclockid(Pid::from_raw(pid)).ok()?.now().ok()?.into())
}

/// `cutime + cstime` of /proc/PID/stat.
fn ended_children(pid: i32) -> Option<Duration> {
    // USER_HZ, the unit of this file, is 100 on every architecture Linux has left.
    const TICKS_PER_S: u64 = 100;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = fields.get(13)?.parse::<u64>().ok()? + fields.get(14)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_S))
}

fn kib_field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|value| value.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_figures_are_there() {
        let own = Tree::new(i32::try_from(std::process::id()).unwrap());
        let before = own.cpu();
        let busy_until = std::time::Instant::now() + Duration::from_millis(20);
        while std::time::Instant::now() < busy_until {}
        let used = own.cpu().seconds_since(&before);
        assert!((0.001..5.0).contains(&used), "{used}");
        assert!(own.memory().unwrap().pss > 10_000);
    }
}
