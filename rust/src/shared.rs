//! A reference-counted value that is made where it stays.
//!
//! `Arc::new` builds its value on the stack and copies it; reading back what was written a moment ago in other pieces
//! stalls the copy for longer than a small kernel takes. There are no weak references here.

use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

struct Counted<T> {
    holders: AtomicUsize,
    value: T,
}

/// A shared pointer to an immutable value.
pub struct Shared<T> {
    at: NonNull<Counted<T>>,
    owns: PhantomData<Counted<T>>,
}

// SAFETY: as for `Arc`: shared references to the value, and its drop, may happen on any thread.
unsafe impl<T: Send + Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// The value is written to its place at once; `make` must not panic (its fields are moves and copies).
    #[inline(always)]
    pub fn new(make: impl FnOnce() -> T) -> Shared<T> {
        let place = Box::into_raw(Box::<Counted<T>>::new_uninit()).cast::<Counted<T>>();
        // SAFETY: fresh memory of the right size; both fields are initialised before it is used.
        unsafe {
            (&raw mut (*place).holders).write(AtomicUsize::new(1));
            (&raw mut (*place).value).write(make());
            Shared {
                at: NonNull::new_unchecked(place),
                owns: PhantomData,
            }
        }
    }

    /// As [`Shared::new`], with `fill` writing the rest where it stays: arrays that are made elsewhere and moved would be
    /// read back while they are still being written.
    #[inline(always)]
    pub fn filled(make: impl FnOnce() -> T, fill: impl FnOnce(&mut T)) -> Shared<T> {
        let fresh = Shared::new(make);
        // SAFETY: nobody else has this value yet.
        fill(unsafe { &mut (*fresh.at.as_ptr()).value });
        fresh
    }

    /// Whether two pointers share one value.
    pub fn ptr_eq(a: &Shared<T>, b: &Shared<T>) -> bool {
        a.at == b.at
    }

    /// Where the value lies: tells values apart that are alive.
    pub fn address(&self) -> usize {
        self.at.as_ptr() as usize
    }

    /// How many hold the value.
    pub fn holders(&self) -> usize {
        self.counted().holders.load(Ordering::Acquire)
    }

    #[inline(always)]
    fn counted(&self) -> &Counted<T> {
        // SAFETY: alive as long as one holder is.
        unsafe { self.at.as_ref() }
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        &self.counted().value
    }
}

impl<T> Clone for Shared<T> {
    #[inline(always)]
    fn clone(&self) -> Shared<T> {
        // Relaxed is enough: the new holder got here through an old one. More holders than isize::MAX do not fit in memory.
        self.counted().holders.fetch_add(1, Ordering::Relaxed);
        Shared {
            at: self.at,
            owns: PhantomData,
        }
    }
}

impl<T> Drop for Shared<T> {
    #[inline(always)]
    fn drop(&mut self) {
        // The only holder need not lock the count: nobody is there to change it.
        if self.counted().holders.load(Ordering::Acquire) != 1 {
            if self.counted().holders.fetch_sub(1, Ordering::Release) != 1 {
                return;
            }
            fence(Ordering::Acquire);
        }
        // SAFETY: the last holder is going, and the memory came from a box.
        drop(unsafe { Box::from_raw(self.at.as_ptr()) });
    }
}
