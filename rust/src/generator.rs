//! Random number generators: a seed and how many counters were used. The numbers are made by the kernels (Philox).

use std::sync::{Arc, LazyLock, Mutex};

/// State of a generator; a random op takes the offset and moves it on.
#[derive(Debug)]
pub struct Generator {
    state: Mutex<(u64, u64)>,
}

/// PyTorch's default seed.
pub const DEFAULT_SEED: u64 = 67280421310721;

impl Generator {
    pub fn new(seed: u64) -> Arc<Generator> {
        Arc::new(Generator {
            state: Mutex::new((seed, 0)),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (u64, u64)> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// (seed, offset in counters).
    pub fn state(&self) -> (u64, u64) {
        *self.lock()
    }

    pub fn set_state(&self, seed: u64, offset: u64) {
        *self.lock() = (seed, offset);
    }

    /// Takes `counters` counters: (seed, first of them).
    pub fn take(&self, counters: u64) -> (u64, u64) {
        let mut s = self.lock();
        let found = *s;
        s.1 = s.1.wrapping_add(counters);
        found
    }
}

static DEFAULT: LazyLock<Arc<Generator>> = LazyLock::new(|| Generator::new(DEFAULT_SEED));

/// The generator that ops use when none is given.
pub fn default_generator() -> Arc<Generator> {
    DEFAULT.clone()
}
