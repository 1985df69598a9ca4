//! Durations, counted in buckets that are at most 1/128 wide.

use std::time::Duration;

const SUB_BITS: u32 = 7;
const SUB: usize = 1 << SUB_BITS;
/// 2^36 ns is above a minute: beyond every deadline in here.
const TOP_BIT: u32 = 36;

/// A histogram of durations with logarithmic buckets.
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    /// An empty histogram; it never grows.
    pub fn new() -> Histogram {
        Histogram { counts: vec![0; SUB * (TOP_BIT - SUB_BITS + 2) as usize], total: 0 }
    }

    /// Counts one duration.
    pub fn add(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(1 << TOP_BIT);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// Microseconds that `share` (0 to 1) of the durations do not exceed; 0 when there are none.
    pub fn quantile_us(&self, share: f64) -> f64 {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper(at) as f64 / 1000.0;
            }
        }
        0.0
    }
}

/// Values below `SUB` have a bucket each; above, `SUB` buckets for every power of two.
fn bucket(nanos: u64) -> usize {
    let top = nanos.checked_ilog2().unwrap_or(0);
    if top < SUB_BITS {
        return nanos as usize;
    }
    let shift = top - SUB_BITS;
    SUB * (shift as usize + 1) + ((nanos >> shift) as usize - SUB)
}

/// The largest value of a bucket.
fn upper(bucket: usize) -> u64 {
    match (bucket / SUB).checked_sub(1) {
        None => bucket as u64,
        Some(shift) => (((bucket % SUB + SUB + 1) as u64) << shift) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_narrow_and_cover_everything() {
        for nanos in (0..100_000).chain((17..36).map(|bit| (1 << bit) + 12_345)) {
            let upper = upper(bucket(nanos));
            assert!(upper >= nanos, "{nanos} {upper}");
            assert!(upper - nanos <= nanos / SUB as u64, "{nanos} {upper}");
        }
        assert!(bucket(1 << TOP_BIT) < Histogram::new().counts.len());
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile_us(0.5), 0.0);
        (1..=100).for_each(|us| histogram.add(Duration::from_micros(us)));
        let p50 = histogram.quantile_us(0.5);
        let p99 = histogram.quantile_us(0.99);
        assert!((50.0..50.5).contains(&p50), "{p50}");
        assert!((99.0..99.9).contains(&p99), "{p99}");
    }
}
