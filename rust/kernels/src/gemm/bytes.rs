//! Dot products of integers of one and two bytes, modulo their range, in which products and sums are made as well.

use crate::dtype::DType;
use crate::multiversion;
use crate::parallel;
use crate::reduce::walk::grain;
use crate::simd::Aligned;
use crate::simd::every::every;
use crate::view::{AnyDst, AnySrc};
use std::sync::atomic::{AtomicU16, Ordering};

/// Elements that are brought side by side at a time.
const BLOCK: usize = 4096;

multiversion! {
    fn of_bytes(a: &[u8], b: &[u8]) -> u16 {
        let products = a.iter().zip(b).map(|(&a, &b)| (a as u16).wrapping_mul(b as u16));
        products.fold(0, u16::wrapping_add)
    }
}

multiversion! {
    fn of_words(a: &[u16], b: &[u16]) -> u16 {
        a.iter().zip(b).map(|(&a, &b)| a.wrapping_mul(b)).fold(0, u16::wrapping_add)
    }
}

/// A block of a vector: where it lies, or brought into `near`.
///
/// # Safety
/// It is there, and so is room for it at `near`, which nothing else is written to as long as the slice is used.
unsafe fn block<'a, T: Copy>(v: &AnySrc, at: usize, n: usize, near: *mut T) -> &'a [T] {
    let step = v.strides()[0];
    // SAFETY: the contract of this function.
    unsafe {
        let from = v.ptr().cast::<T>().offset(at as isize * step);
        if step == 1 {
            return std::slice::from_raw_parts(from, n);
        }
        every(from, step, near, n);
        std::slice::from_raw_parts(near, n)
    }
}

/// The sum of the products of two vectors of one dtype into an element of it, where that is an integer of one or two bytes.
pub fn dot_narrow(a: AnySrc, b: AnySrc, out: AnyDst) -> bool {
    let d = a.dtype();
    if !matches!(d, DType::U8 | DType::I8 | DType::I16) || a.rank() != 1 {
        return false;
    }
    assert!(
        b.dtype() == d && out.dtype() == d && a.shape() == b.shape(),
        "vectors of one kind"
    );
    let n = a.shape()[0];
    let sum = AtomicU16::new(0);
    parallel::for_range(n.div_ceil(BLOCK), grain(BLOCK), |blocks| {
        let mut near = Aligned([[0u16; BLOCK]; 2]);
        let [x, y] = near.each_mut().map(|near| near.as_mut_ptr());
        for at in blocks.map(|i| i * BLOCK) {
            let len = BLOCK.min(n - at);
            // SAFETY: the views' elements, and room for a block of each.
            let part = unsafe {
                match d.size() {
                    1 => of_bytes(block(&a, at, len, x.cast()), block(&b, at, len, y.cast())),
                    _ => of_words(block(&a, at, len, x), block(&b, at, len, y)),
                }
            };
            sum.fetch_add(part, Ordering::Relaxed);
        }
    });
    let sum = sum.into_inner();
    // SAFETY: the output's one element.
    unsafe {
        match d.size() {
            1 => *out.ptr() = sum as u8,
            _ => *out.ptr().cast::<u16>() = sum,
        }
    }
    true
}
