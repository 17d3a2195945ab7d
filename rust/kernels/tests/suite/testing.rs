//! What the tests of several modules share: numbers, and the comparison of all bits on all instruction sets.

use firesteel_kernels::parallel::set_threads;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Bytes that the last cache is taken to have by tests whose results are to be on both sides of it wherever they run.
pub(crate) const LAST_CACHE: usize = 32 << 20;

/// Numbers in [-1, 1], by xorshift (Marsaglia, 2003).
pub(crate) fn numbers(n: usize, seed: u32) -> Vec<f64> {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f64 / u32::MAX as f64 * 2.0 - 1.0
        })
        .collect()
}

/// Sets the number of threads for a test that compares them; tests that do so take turns.
pub(crate) fn with_threads(n: usize) -> impl Drop {
    static TURN: Mutex<()> = Mutex::new(());
    let guard = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    set_threads(n);
    guard
}

/// FNV-1a over what the kernels wrote; NaNs count as one, since their payloads are not promised.
pub(crate) struct Digest(u64);

impl Digest {
    pub fn new() -> Digest {
        Digest(0xcbf2_9ce4_8422_2325)
    }

    pub fn add(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(9);
    }

    pub fn floats(&mut self, values: &[f32]) {
        for v in values {
            self.add(if v.is_nan() { 1 } else { v.to_bits() as u64 });
        }
    }

    pub fn text(&self) -> String {
        format!("digest {:x}", self.0)
    }
}

/// Compares a digest's text with that of three threads, and with what the ignored test of this name prints in a process for
/// each instruction set.
pub(crate) fn same_bits_everywhere(digest: fn() -> String, printing: &str) {
    set_threads(1);
    let here = digest();
    set_threads(3);
    assert_eq!(digest(), here, "three threads");
    for isa in ["scalar", "avx2", "avx512"] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([printing, "--exact", "--ignored", "--nocapture"])
            .env("FIRESTEEL_ISA", isa)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&child.stdout);
        assert!(text.contains(&here), "{isa}: {text}, not {here}");
    }
}
