//! Elements that lie a few apart, brought side by side, and back.

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

macro_rules! among {
    ($name:ident, $parts:literal) => {
        crate::multiversion! {
            fn $name<T: Copy>(from: *const T, apart: usize, to: *mut T, groups: usize) {
                for (i, j) in (0..groups).flat_map(|i| (0..$parts).map(move |j| (i, j))) {
                    // SAFETY: the caller of `interleave` has so many at both ends. A number of parts known here becomes whole
                    // vectors.
                    unsafe { *to.add($parts * i + j) = *from.add(j * apart + i) };
                }
            }
        }
    };
}
among!(among_two, 2);
among!(among_three, 3);
among!(among_four, 4);

/// Copies `n` elements that lie in `parts` runs to where they follow each other: element i comes from run i mod `parts`. The
/// runs begin `apart` elements after each other.
///
/// # Safety
/// They are readable, and as many are writable at `to`, which overlaps none of the runs.
pub unsafe fn interleave<T: Copy>(from: *const T, apart: usize, parts: usize, to: *mut T, n: usize) {
    let groups = n / parts;
    // SAFETY: the caller's promise.
    unsafe {
        match parts {
            1 => return std::ptr::copy_nonoverlapping(from, to, n),
            2 => among_two(from, apart, to, groups),
            3 => among_three(from, apart, to, groups),
            4 => among_four(from, apart, to, groups),
            _ => {
                for (j, i) in (0..parts).flat_map(|j| (0..groups).map(move |i| (j, i))) {
                    *to.add(parts * i + j) = *from.add(j * apart + i);
                }
            }
        }
        (0..n - parts * groups).for_each(|j| *to.add(parts * groups + j) = *from.add(j * apart + groups));
    }
}
