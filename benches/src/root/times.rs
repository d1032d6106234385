use serde::Serialize;
use std::{fmt, time::Duration};

/// What a repeated measurement took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Times {
    /// The shortest.
    pub min_ms: f64,
    /// The median.
    pub median_ms: f64,
    /// The longest.
    pub worst_ms: f64,
}

impl Times {
    /// Of at least one time; `None` of none.
    #[must_use]
    pub fn of(times: &[Duration]) -> Option<Self> {
        let mut sorted: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        sorted.sort_by(f64::total_cmp);
        let (min_ms, worst_ms) = (*sorted.first()?, *sorted.last()?);
        Some(Self { min_ms, median_ms: sorted[sorted.len() / 2], worst_ms })
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.3} {:>10.3} {:>10.3}", self.median_ms, self.min_ms, self.worst_ms)
    }
}

/// The median of ratios of times that were taken next to each other.
pub(super) fn median_ratio(of: &[Duration], to: &[Duration]) -> f64 {
    let mut ratios: Vec<f64> = of.iter().zip(to).map(|(a, b)| a.as_secs_f64() / b.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_sorted_times() {
        let ms = Duration::from_millis;
        let times = Times::of(&[ms(3), ms(1), ms(10)]).unwrap();
        assert_eq!((times.min_ms, times.median_ms, times.worst_ms), (1.0, 3.0, 10.0));
        assert_eq!(Times::of(&[]), None);
        assert!((median_ratio(&[ms(2), ms(9), ms(8)], &[ms(1), ms(3), ms(1)]) - 3.0).abs() < 1e-9);
    }
}
