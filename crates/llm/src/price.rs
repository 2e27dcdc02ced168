//! What a call costs.

use serde::{Deserialize, Serialize};

use crate::answer::Usage;

/// No price is higher: a million currency units per million tokens.
const PRICE_MAX: f64 = 1e6;

/// What is charged, in currency units per million tokens: so many millionths of one (micro-units) for each token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// For what is read.
    pub prompt: f64,
    /// For what is generated.
    pub completion: f64,
}

impl Prices {
    /// The cost in micro-units, rounded half up, once per call. Prices count to a thousandth of a micro-unit per token; from
    /// there on it is arithmetic on whole numbers, the same on every machine.
    pub fn cost_micros(&self, usage: &Usage) -> u64 {
        let thousandths =
            |price: f64, tokens: u32| (price * 1000.0).round().max(0.0) as u128 * u128::from(tokens);
        let sum = thousandths(self.prompt, usage.prompt_tokens)
            + thousandths(self.completion, usage.completion_tokens);
        u64::try_from((sum + 500) / 1000).unwrap_or(u64::MAX)
    }

    pub(crate) fn are_sane(&self) -> bool {
        [self.prompt, self.completion].iter().all(|price| (0.0..=PRICE_MAX).contains(price))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(prompt: f64, completion: f64, prompt_tokens: u32, completion_tokens: u32) -> u64 {
        Prices { prompt, completion }.cost_micros(&Usage { prompt_tokens, completion_tokens })
    }

    #[test]
    fn a_price_per_million_is_micro_units_per_token() {
        assert_eq!(cost(0.15, 0.6, 1_000_000, 1_000_000), 750_000);
        assert_eq!(cost(3.0, 15.0, 7, 2), 51);
        assert_eq!(cost(0.0, 0.0, u32::MAX, u32::MAX), 0);
    }

    #[test]
    fn a_call_is_rounded_once_and_half_up() {
        assert_eq!([1, 2, 3, 4].map(|tokens| cost(0.25, 0.0, tokens, 0)), [0, 1, 1, 1]);
        assert_eq!(cost(0.25, 0.25, 1, 1), 1, "not each part by itself");
    }

    #[test]
    fn nothing_overflows() {
        assert_eq!(cost(1e6, 1e6, u32::MAX, u32::MAX), 2 * u64::from(u32::MAX) * 1_000_000);
    }

    #[test]
    fn nonsense_is_no_price() {
        let sane = |prompt| Prices { prompt, completion: 1.0 }.are_sane();
        assert_eq!([0.0, 1e6].map(sane), [true; 2]);
        assert_eq!([-0.1, f64::NAN, 1e7].map(sane), [false; 3]);
    }
}
