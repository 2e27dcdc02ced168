//! A set of measured durations.

/// Durations in microseconds, shortest first.
#[derive(Debug, Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The shortest duration that at least this fraction (0 to 1) do not exceed, in milliseconds; without any, 0.
    pub fn quantile_ms(&self, fraction: f64) -> f64 {
        let rank = (fraction * self.0.len() as f64).ceil() as usize;
        let sample = self.0.get(rank.saturating_sub(1)).copied();
        f64::from(sample.unwrap_or_default()) / 1000.0
    }

    /// Their mean, in milliseconds; without any, 0.
    pub fn mean_ms(&self) -> f64 {
        let sum: u64 = self.0.iter().copied().map(u64::from).sum();
        sum as f64 / self.0.len().max(1) as f64 / 1000.0
    }
}

impl FromIterator<u32> for Latencies {
    fn from_iter<I: IntoIterator<Item = u32>>(durations_us: I) -> Self {
        let mut sorted: Vec<_> = durations_us.into_iter().collect();
        sorted.sort_unstable();
        Self(sorted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_samples() {
        let latencies: Latencies = (1..=100).rev().map(|ms| ms * 1000).collect();
        let quantiles = [0.0, 0.5, 0.99, 1.0].map(|fraction| latencies.quantile_ms(fraction));
        assert_eq!(quantiles, [1.0, 50.0, 99.0, 100.0]);
        assert_eq!(latencies.mean_ms(), 50.5);
        assert_eq!(Latencies::default().quantile_ms(0.5), 0.0);
        assert_eq!(Latencies::default().mean_ms(), 0.0);
    }
}
