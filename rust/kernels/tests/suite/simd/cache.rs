//! What the processor tells of its caches.

use crate::testing::LAST_CACHE;
use firesteel_kernels::internals::cache::{assume_last, exceeds, last, size_of_level};

#[test]
fn plausible() {
    assume_last(LAST_CACHE);
    assert!(!exceeds(1 << 18) && exceeds(1 << 36));
    assert!(last().is_none_or(|b| (1 << 16..1 << 33).contains(&b)));
    assert!(size_of_level(1).is_none_or(|b| (1 << 12..1 << 20).contains(&b)));
}
