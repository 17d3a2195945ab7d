//! Elements that lie a few apart, brought side by side.

macro_rules! every {
    ($name:ident, $step:literal) => {
        crate::multiversion! {
            fn $name<T: Copy>(from: *const T, to: *mut T, n: usize) {
                for i in 0..n {
                    // SAFETY: the caller of `every` has `n` elements at both ends. A distance known here becomes loads of
                    // what lies between and a permutation, three times as fast as element by element.
                    unsafe { *to.add(i) = *from.add($step * i) };
                }
            }
        }
    };
}
every!(every_second, 2);
every!(every_third, 3);
every!(every_fourth, 4);

/// Fewer are not worth the choice of an instruction set.
const FEW: usize = 8;

/// Copies `n` elements that lie `step` apart to where they lie side by side.
///
/// # Safety
/// They are readable, and as many are writable at `to`, which overlaps none of what lies between the first and the last.
#[inline(always)]
pub unsafe fn every<T: Copy>(from: *const T, step: isize, to: *mut T, n: usize) {
    // By size, so that these functions exist once for each.
    // SAFETY: the caller's promise, for the same bytes.
    unsafe {
        match size_of::<T>() {
            1 => by_step::<u8>(from.cast(), step, to.cast(), n),
            2 => by_step::<u16>(from.cast(), step, to.cast(), n),
            4 => by_step::<u32>(from.cast(), step, to.cast(), n),
            8 => by_step::<u64>(from.cast(), step, to.cast(), n),
            _ => one_by_one(from, step, to, n),
        }
    }
}

/// # Safety
/// As for [`every`].
#[inline(always)]
unsafe fn by_step<T: Copy>(from: *const T, step: isize, to: *mut T, n: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match step {
            1 => std::ptr::copy_nonoverlapping(from, to, n),
            2 if n >= FEW => every_second(from, to, n),
            3 if n >= FEW => every_third(from, to, n),
            4 if n >= FEW => every_fourth(from, to, n),
            _ => one_by_one(from, step, to, n),
        }
    }
}

/// # Safety
/// As for [`every`].
unsafe fn one_by_one<T: Copy>(from: *const T, step: isize, to: *mut T, n: usize) {
    for i in 0..n {
        // SAFETY: the caller's promise.
        unsafe { *to.add(i) = *from.offset(i as isize * step) };
    }
}
