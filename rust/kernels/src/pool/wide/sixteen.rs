//! Sixteen outputs of a row as one value, for every instruction set with vectors: one of AVX-512's, two of AVX2's, four of
//! NEON's.
//!
//! A token stands for the promise that the CPU has the instructions, as in [`crate::simd::vec`], and all methods are to be
//! inlined into functions compiled for them.

/// Outputs that go together.
pub(in crate::pool) const N: usize = 16;

/// Operations on sixteen lanes. Where a mask is a number, bit i stands for lane i.
///
/// # Safety
/// For all loads and stores: the lanes touched lie inside live memory.
pub(super) trait Sixteen: Copy {
    /// Numbers of float32, of float64, and places.
    type F: Copy;
    type D: Copy;
    type I: Copy;
    /// Which lanes a comparison holds for.
    type W: Copy;

    /// # Safety
    /// The CPU has the instruction set, and the caller is compiled for it.
    unsafe fn assume() -> Self;
    fn splat(self, x: f32) -> Self::F;
    /// # Safety
    /// See the trait.
    unsafe fn load(self, p: *const f32) -> Self::F;
    /// `fill` in the lanes that are not in `mask`, whose elements are not touched.
    /// # Safety
    /// See the trait.
    unsafe fn load_some(self, fill: Self::F, mask: u16, p: *const f32) -> Self::F;
    /// # Safety
    /// See the trait.
    unsafe fn store(self, p: *mut f32, v: Self::F);
    /// # Safety
    /// See the trait; only the lanes of `mask` are touched.
    unsafe fn store_some(self, p: *mut f32, mask: u16, v: Self::F);
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a` where it is greater, else `b`: so `b` where one of the two is no number.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;

    fn greater(self, a: Self::F, b: Self::F) -> Self::W;
    fn equal(self, a: Self::F, b: Self::F) -> Self::W;
    /// Where one of the two is no number.
    fn unordered(self, a: Self::F, b: Self::F) -> Self::W;
    fn nowhere(self) -> Self::W;
    fn either(self, a: Self::W, b: Self::W) -> Self::W;
    /// Where `a` holds and `b` does not.
    fn without(self, a: Self::W, b: Self::W) -> Self::W;
    fn bits(self, w: Self::W) -> u16;
    fn choose(self, w: Self::W, yes: Self::F, no: Self::F) -> Self::F;
    /// `v` where `w` holds, zero elsewhere.
    fn only(self, w: Self::W, v: Self::F) -> Self::F;
    /// Zero where `w` holds, `v` elsewhere.
    fn except(self, w: Self::W, v: Self::F) -> Self::F;

    /// Every second of 32 elements, from the first on.
    fn even(self, low: Self::F, high: Self::F) -> Self::F;
    /// Every second of 32 elements, from the second on.
    fn odd(self, low: Self::F, high: Self::F) -> Self::F;
    /// The 32 elements whose [`Sixteen::even`] and [`Sixteen::odd`] these are.
    fn in_turn(self, even: Self::F, odd: Self::F) -> [Self::F; 2];
    /// Each lane's next, the last one's from `after`.
    fn next(self, v: Self::F, after: Self::F) -> Self::F;
    /// Each lane's last, the first one's from `before`.
    fn last(self, before: Self::F, v: Self::F) -> Self::F;

    fn zeros(self) -> Self::D;
    /// `v` added in float64.
    fn added(self, sums: Self::D, v: Self::F) -> Self::D;
    fn joined(self, a: Self::D, b: Self::D) -> Self::D;
    /// Products with sixteen factors, rounded.
    /// # Safety
    /// See the trait.
    unsafe fn scaled(self, v: Self::D, by: *const f64) -> Self::F;
    /// The sum of all lanes: lane i and i + 8 first, then i and i + 4, and so on.
    fn total(self, v: Self::D) -> f64;
    /// Eight such sums times `by`, rounded.
    /// # Safety
    /// See the trait.
    #[inline(always)]
    unsafe fn store_totals(self, p: *mut f32, v: [Self::D; 8], by: f64) {
        for (i, v) in v.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { *p.add(i) = (self.total(v) * by) as f32 };
        }
    }

    fn place(self, x: i32) -> Self::I;
    /// # Safety
    /// See the trait.
    unsafe fn load_places(self, p: *const i32) -> Self::I;
    /// # Safety
    /// See the trait.
    unsafe fn store_places(self, p: *mut i32, v: Self::I);
    /// Sixteen of `i64`.
    /// # Safety
    /// See the trait.
    unsafe fn store_long(self, p: *mut i64, v: Self::I);
    fn move_places(self, a: Self::I, b: Self::I) -> Self::I;
    fn choose_place(self, w: Self::W, yes: Self::I, no: Self::I) -> Self::I;
}

#[cfg(target_arch = "aarch64")]
pub(super) mod arm;
#[cfg(target_arch = "x86_64")]
pub(super) mod x86;
