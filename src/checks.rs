//! How the property tests run: how many cases of each, and from which seed.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::LazyLock;

use proptest::test_runner::{Config, RngSeed};

/// Cases of every property, in place of its own number.
const CASES: &str = "CAMP_PROPTEST_CASES";

/// Where the random choices of every property begin. Another at each run unless it is given.
const SEED: &str = "CAMP_PROPTEST_SEED";

static FROM: LazyLock<u64> = LazyLock::new(|| number(SEED).unwrap_or_else(|| RandomState::new().hash_one(SEED)));

/// The settings of a property that is tried in so many cases unless the environment says otherwise. A failure shows
/// what was printed, and comes again with these two variables.
pub(crate) fn cases(usual: u32) -> Config {
    let cases = number(CASES).unwrap_or(usual);
    println!("{CASES}={cases} {SEED}={}", *FROM);
    Config { cases, rng_seed: RngSeed::Fixed(*FROM), failure_persistence: None, ..Config::default() }
}

/// A variable that is no number is a mistake, not a wish for the usual.
fn number<T: std::str::FromStr>(variable: &str) -> Option<T> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is {value:?}, not a number in range")))
}
