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
pub(crate) unsafe fn every<T: Copy>(from: *const T, step: isize, to: *mut T, n: usize) {
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

#[cfg(test)]
mod tests {
    use super::every;

    #[test]
    fn all_distances() {
        let from: Vec<u64> = (0..9000).collect();
        let small: Vec<u8> = (0..9000).map(|i| (i % 251) as u8).collect();
        for n in [0usize, 1, 7, 8, 15, 16, 17, 63, 64, 65, 127, 1000] {
            for step in [0isize, 1, 2, 3, 4, 5, 9] {
                let (mut to, mut bytes) = (vec![0u64; n + 1], vec![0u8; n + 1]);
                // SAFETY: 9 times the most elements, and room for them.
                unsafe {
                    every(from.as_ptr(), step, to.as_mut_ptr(), n);
                    every(small.as_ptr(), step, bytes.as_mut_ptr(), n);
                }
                for i in 0..n {
                    assert_eq!(to[i], from[i * step as usize], "{i} of {n}, {step} apart");
                    assert_eq!(bytes[i], small[i * step as usize], "{i} of {n}, {step} apart");
                }
                assert_eq!((to[n], bytes[n]), (0, 0));
            }
        }
    }
}
