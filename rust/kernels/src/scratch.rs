//! Memory that a kernel needs for a moment, kept by each thread for the next call.
//!
//! Fresh memory costs a page fault every 4 KiB, more than most kernels do with it. What is above [`KEEP`] goes back to the
//! system.

use std::cell::RefCell;

/// Bytes that a thread keeps.
const KEEP: usize = 64 << 20;

/// Types of which any bits are a value.
///
/// # Safety
/// Plain numbers of at most 16 bytes.
pub unsafe trait Plain: Copy + 'static {}
// SAFETY: numbers.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for i64 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: as above.
unsafe impl Plain for u128 {}
// SAFETY: as above.
unsafe impl Plain for f32 {}
// SAFETY: as above.
unsafe impl Plain for f64 {}
// SAFETY: as above.
unsafe impl Plain for isize {}

type Line = [u128; 4];

thread_local! {
    static KEPT: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f` with room for `n` elements, whose values are whatever was there. A panic in `f` drops the memory.
pub fn with<T: Plain, R>(n: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    let lines = (n * size_of::<T>()).div_ceil(size_of::<Line>());
    let mut block = KEPT.with(|k| k.borrow_mut().pop()).unwrap_or_default();
    if block.len() < lines {
        // Zeroed, so that all elements have a value; later calls find what earlier ones left.
        block = vec![[0; 4]; lines];
    }
    // SAFETY: the block holds `n` elements, aligned for 16 bytes; any bits are a value.
    let result = f(unsafe { std::slice::from_raw_parts_mut(block.as_mut_ptr().cast::<T>(), n) });
    if block.len() * size_of::<Line>() <= KEEP {
        KEPT.with(|k| k.borrow_mut().push(block));
    }
    result
}
