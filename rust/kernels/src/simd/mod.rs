//! Instruction sets: which one runs is chosen once, at run time; `FIRESTEEL_ISA=avx512|avx2|scalar` lowers the choice.
//!
//! Plain generic code is compiled once per set by [`multiversion!`](crate::multiversion): the body is an
//! `#[inline(always)]` function, and the macro makes the `#[target_feature]` twins and the choice between them. `mul_add`
//! is one instruction in each of the x86 sets (scalar code is compiled with FMA too), so all give the same bits.

pub(crate) mod cache;
pub mod dot;
pub(crate) mod every;
pub mod int;
pub(crate) mod sweep;
pub(crate) mod transpose;
pub mod vec;

use std::sync::atomic::{AtomicU8, Ordering};

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
#[repr(u8)]
pub enum Isa {
    /// No vector instructions of our own choosing, and no FMA instruction either: `mul_add` is a library call.
    Portable = 1,
    /// One lane, with the CPU's FMA instruction.
    Scalar = 2,
    /// AVX2 + FMA (on AArch64: NEON, which is always there).
    Avx2 = 3,
    /// AVX-512 F, VL, BW, DQ.
    Avx512 = 4,
}

static CHOICE: AtomicU8 = AtomicU8::new(0);

/// The instruction set in use.
#[inline(always)]
pub fn isa() -> Isa {
    match CHOICE.load(Ordering::Relaxed) {
        4 => Isa::Avx512,
        3 => Isa::Avx2,
        2 => Isa::Scalar,
        1 => Isa::Portable,
        _ => choose(),
    }
}

#[cold]
fn choose() -> Isa {
    let best = detect();
    let asked = match std::env::var("FIRESTEEL_ISA").as_deref() {
        Ok("scalar") => Isa::Scalar,
        Ok("avx2") | Ok("neon") => Isa::Avx2,
        _ => Isa::Avx512,
    };
    let isa = asked.min(best);
    CHOICE.store(isa as u8, Ordering::Relaxed);
    isa
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn detect() -> Isa {
    use std::arch::is_x86_feature_detected as has;
    let fma = has!("fma") && has!("avx2") && has!("bmi1") && has!("bmi2") && has!("lzcnt") && has!("f16c");
    let v4 = has!("avx512f") && has!("avx512vl") && has!("avx512bw") && has!("avx512dq") && has!("avx512cd");
    match (fma, v4) {
        (true, true) => Isa::Avx512,
        (true, false) => Isa::Avx2,
        _ => Isa::Portable,
    }
}

#[cfg(target_arch = "aarch64")]
pub(crate) fn detect() -> Isa {
    Isa::Avx2
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn detect() -> Isa {
    Isa::Portable
}

/// What begins at a cache line, so that no whole vector of it lies in two: on Zen 4 a vector that was stored so and is read
/// again waits until it has left (rows of 1000 were summed in 45 or 92 ns, as the stack happened to lie).
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Aligned<T>(pub T);

impl<T> std::ops::Deref for Aligned<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> std::ops::DerefMut for Aligned<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// Asks for the cache line of an address that will be read soon; any address will do.
#[inline(always)]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which reads nothing.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast())
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Asks for the cache line of an address that will be written soon; any address will do. Processors without such a hint do
/// nothing.
#[inline(always)]
pub(crate) fn prefetch_write<T>(at: *const T) {
    // The compiler's own hint needs a feature that it calls unstable.
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; it never faults, and touches neither flags nor registers.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags, readonly))
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// The same pointer, of which the compiler no longer knows how it was made: else it adds up the addresses of a tile's rows one
/// from the other, an instruction for each row at each step, or keeps more of them than there are registers.
#[inline(always)]
pub(crate) fn opaque<T>(p: *const T) -> *const T {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        let mut hidden = p;
        // SAFETY: no instruction; the pointer stays what it was.
        #[allow(clippy::pointers_in_nomem_asm_block, reason = "nothing is read or written")]
        unsafe {
            std::arch::asm!("/* {0} */", inout(reg) hidden, options(pure, nomem, nostack, preserves_flags));
        }
        hidden
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    p
}

/// Compiles a function once per instruction set and picks one at run time.
///
/// ```ignore
/// multiversion! {
///     fn scale(x: &mut [f32], by: f32) {
///         for v in x { *v *= by; }
///     }
/// }
/// ```
/// Generic parameters are written `fn name<T: Bound, F: Bound>(…)`. Calls inside the body must be `#[inline(always)]` to
/// be compiled for the set.
#[macro_export]
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$($g:ident : $b:path),* $(,)?>)? ($($a:ident : $t:ty),* $(,)?) $(-> $r:ty)? $body:block) => {
        $(#[$meta])*
        #[inline]
        $vis fn $name $(<$($g: $b),*>)? ($($a: $t),*) $(-> $r)? {
            #[inline(always)]
            fn body $(<$($g: $b),*>)? ($($a: $t),*) $(-> $r)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c")]
                fn avx512 $(<$($g: $b),*>)? ($($a: $t),*) $(-> $r)? { body($($a),*) }
                #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,f16c")]
                fn avx2 $(<$($g: $b),*>)? ($($a: $t),*) $(-> $r)? { body($($a),*) }
                #[target_feature(enable = "fma,bmi1,bmi2,lzcnt,f16c")]
                fn scalar $(<$($g: $b),*>)? ($($a: $t),*) $(-> $r)? { body($($a),*) }
                match $crate::simd::isa() {
                    // SAFETY: `isa` returns a set only after the CPU was found to have it.
                    $crate::simd::Isa::Avx512 => unsafe { avx512($($a),*) },
                    // SAFETY: as above.
                    $crate::simd::Isa::Avx2 => unsafe { avx2($($a),*) },
                    // SAFETY: as above (`Scalar` is chosen only where FMA exists).
                    $crate::simd::Isa::Scalar => unsafe { scalar($($a),*) },
                    $crate::simd::Isa::Portable => body($($a),*),
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            {
                body($($a),*)
            }
        }
    };
}

/// As [`multiversion!`](crate::multiversion), of integers for which the widest vectors gain nothing (a light function of
/// bytes waits for the memory): AVX2, and for all other sets what every processor has. Half the code.
macro_rules! twoversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident <$($g:ident : $b:path),* $(,)?> ($($a:ident : $t:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        #[inline]
        $vis fn $name <$($g: $b),*> ($($a: $t),*) {
            #[inline(always)]
            fn body <$($g: $b),*> ($($a: $t),*) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
                fn avx2 <$($g: $b),*> ($($a: $t),*) { body($($a),*) }
                if $crate::simd::isa() >= $crate::simd::Isa::Avx2 {
                    // SAFETY: `isa` returns a set only after the CPU was found to have it.
                    return unsafe { avx2($($a),*) };
                }
            }
            body($($a),*)
        }
    };
}
pub(crate) use twoversion;
