//! One image under large weights: a product whose left operand is the weights where they lie, and whose right operand, the
//! patches, is gathered as it is packed. To pack all weights first, for use by one image, would take them through memory
//! twice more.

use super::gather::Images;
use super::geometry::{Address, Gather, Image, Source};
use super::patches::PatchArgs;
use super::weights::Weights;
use crate::gemm::{Gemm, HasKernels, Kernels, Operands, Products, Runs, panel_width, with_shared};
use std::ops::Range;

/// Bytes of weights from which on they do not stay near.
const LARGE: usize = 256 << 10;

/// Whether a pass whose positions lie one after another is computed so.
pub(super) fn takes<T: Copy>(weights: &Weights<T>, images: &Images<T>) -> bool {
    let bytes = weights.rows * weights.channels * weights.taps.len() * size_of::<T>();
    images.count == 1 && weights.groups == 1 && weights.is_dense() && bytes > LARGE
}

/// The pass; nothing is finished.
///
/// # Safety
/// As for [`super::gather::gather`]; [`takes`].
pub(super) unsafe fn product<T: Copy + HasKernels>(
    kernels: &'static Kernels<T>,
    geometry: &Gather,
    address: &Address,
    weights: Weights<T>,
    images: Images<T>,
    bias: *const T,
) {
    let [_, sc, sd, sh, sw] = images.src_strides;
    let source = Source {
        data: images.src,
        channels: weights.channels,
        strides: [sc, sd, sh, sw],
    };
    with_shared(|copy| {
        // SAFETY: the caller's promise.
        let image = unsafe { geometry.image(kernels, address, source, address.all_lines(), copy) };
        let g = Gemm {
            m: weights.rows,
            n: geometry.positions(),
            k: weights.channels * geometry.taps(),
            a: weights.data,
            a_rs: weights.row_stride,
            a_cs: 1,
            c: images.dst,
            c_rs: images.dst_strides[1],
            c_cs: 1,
            row_bias: bias,
            ..Gemm::empty()
        };
        let patches = Patches {
            g,
            kernels,
            image,
            address,
        };
        // SAFETY: as above; the copy lives as long as the product takes.
        unsafe { g.run_with(&patches, kernels) };
    });
}

/// The weights, and the image's patches.
struct Patches<'a, T: 'static> {
    g: Gemm<T>,
    kernels: &'static Kernels<T>,
    image: Image<T>,
    address: &'a Address,
}
// SAFETY: what the threads share is only read.
unsafe impl<T: Sync> Sync for Patches<'_, T> {}

impl<T: HasKernels> Operands<T> for Patches<'_, T> {
    unsafe fn pack_a(&self, kernels: &Products<T>, rows: Range<usize>, ks: Range<usize>, dst: *mut T) {
        // SAFETY: the caller's promise.
        unsafe { self.g.pack_a(kernels, rows, ks, dst) }
    }

    unsafe fn pack_b(&self, _: &Products<T>, cols: Range<usize>, ks: Range<usize>, dst: *mut T) {
        let nr = self.kernels.nr;
        let mut runs = Vec::new();
        for j in cols.clone().step_by(nr) {
            let n = nr.min(cols.end - j);
            runs.clear();
            self.address.runs(j, j + n, &mut runs);
            // SAFETY: as above.
            unsafe {
                (self.kernels.pack_patches)(&PatchArgs {
                    image: self.image.data,
                    channel_stride: self.image.channel_stride,
                    taps: &self.address.taps,
                    first: ks.start,
                    k: ks.len(),
                    runs: &runs,
                    width: panel_width(self.kernels, n),
                    dst: dst.wrapping_add((j - cols.start) * ks.len()),
                });
            }
        }
    }

    fn rows_stay(&self, kernels: &Products<T>) -> bool {
        Operands::rows_stay(&self.g, kernels)
    }

    fn rows_clash(&self) -> bool {
        self.g.rows_clash()
    }

    fn runs_a(&self, rows: Range<usize>, ks: Range<usize>) -> Runs {
        self.g.runs_a(rows, ks)
    }

    fn runs_b(&self, _: Range<usize>, _: Range<usize>) -> Runs {
        Runs::NONE
    }
}
