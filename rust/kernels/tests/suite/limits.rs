//! What the machine can do at most.

use firesteel_kernels::limits::{flops, read_rate};

#[test]
fn a_limit_is_a_rate() {
    assert!(flops() > 1e6 && read_rate() > 1e6);
}
