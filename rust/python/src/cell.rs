//! State guarded by the GIL: no locks, no reference counts of borrows.

use pyo3::Python;
use std::cell::UnsafeCell;

/// A value that is reachable with a [`Python`] token only.
///
/// Closures given to [`GilCell::with_mut`] must be short: no Python code runs, no Python object is made or dropped and
/// the GIL is not released inside them, so no second borrow can begin. What is taken out is dropped after the closure.
pub struct GilCell<T>(UnsafeCell<T>);

// SAFETY: every access needs the GIL, which one thread holds at a time.
unsafe impl<T: Send> Sync for GilCell<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for GilCell<T> {}

impl<T> GilCell<T> {
    pub const fn new(value: T) -> GilCell<T> {
        GilCell(UnsafeCell::new(value))
    }

    #[inline(always)]
    pub fn with<R>(&self, _py: Python<'_>, f: impl FnOnce(&T) -> R) -> R {
        // SAFETY: the GIL is held and nothing inside `f` mutates (see the type's contract).
        f(unsafe { &*self.0.get() })
    }

    #[inline(always)]
    pub fn with_mut<R>(&self, _py: Python<'_>, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: the GIL is held and `f` neither runs Python nor borrows again (see the type's contract).
        f(unsafe { &mut *self.0.get() })
    }

    /// For `__traverse__` and `__clear__`, which the collector calls with the GIL held but without a token.
    #[inline(always)]
    pub fn gc(&self) -> &T {
        // SAFETY: the collector runs under the GIL and never inside one of the closures above.
        unsafe { &*self.0.get() }
    }

    /// Exclusive access, where the borrow checker proves it.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}
