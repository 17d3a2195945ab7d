//! Integer products: the floats' driver and tiles, with arithmetic that wraps.

use super::few::{FewArgs, few, few_turned};
use super::micro::{Products, Tile, dots, finish, products, tile};
use super::pack::{PackArgs, pack};
use super::thin::{ThinArgs, thin};
use super::{Bias, Epilogue, GemmElement, HasProducts, Plus, product};
use crate::simd::Isa;
use crate::simd::int::Ints;
#[cfg(target_arch = "aarch64")]
use crate::simd::vec::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::vec::{Avx2, Avx512};
use crate::simd::vec::{Lanes, Scalar};
use crate::view::{Dst, Src};
use std::num::Wrapping;

mod tables {
    use super::*;
    products!(portable_i32, Wrapping<i32>, Ints<Scalar>, [1 2 3 4] x 4, [1 2 3 4] x 4);
    products!(portable_i64, Wrapping<i64>, Ints<Scalar>, [1 2 3 4] x 4, [1 2 3 4] x 4);
    #[cfg(target_arch = "x86_64")]
    products!(#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,f16c")]
        avx2_i32, Wrapping<i32>, Ints<Avx2>, [1 2 3 4 5 6] x 2, [1 2 3 4] x 2);
    #[cfg(target_arch = "x86_64")]
    products!(#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,f16c")]
        avx2_i64, Wrapping<i64>, Ints<Avx2>, [1 2 3 4] x 2, [1 2 3 4] x 2);
    #[cfg(target_arch = "x86_64")]
    products!(#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c")]
        avx512_i32, Wrapping<i32>, Ints<Avx512>, [1 2 3 4 5 6 7 8 9 10 11 12 13 14] x 2, [1 2 3 4] x 4);
    #[cfg(target_arch = "x86_64")]
    products!(#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi1,bmi2,lzcnt,f16c")]
        avx512_i64, Wrapping<i64>, Ints<Avx512>, [1 2 3 4 5 6 7 8 9 10 11 12 13 14] x 2, [1 2 3 4] x 4);
    #[cfg(target_arch = "aarch64")]
    products!(neon_i32, Wrapping<i32>, Ints<Neon>, [1 2 3 4 5 6 7 8 9 10 11 12] x 2, [1 2 3 4] x 4);
}

macro_rules! int_products {
    ($t:ty: $portable:ident $avx2:ident $avx512:ident $($neon:ident)?) => {
        impl HasProducts for Wrapping<$t> {
            fn products(isa: Isa) -> &'static Products<Self> {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => &tables::$avx512::Table::<false>::PRODUCTS,
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => &tables::$avx2::Table::<false>::PRODUCTS,
                    $(#[cfg(target_arch = "aarch64")]
                    Isa::Avx512 | Isa::Avx2 => &tables::$neon::Table::<false>::PRODUCTS,)?
                    _ => &tables::$portable::Table::<false>::PRODUCTS,
                }
            }
        }
        impl GemmElement for $t {
            fn product(isa: Isa, a: Src<$t>, b: Src<$t>, c: Dst<$t>, ep: Epilogue<$t>) {
                let bias = match &ep.bias {
                    Bias::None => Bias::None,
                    Bias::Columns(v) => Bias::Columns(wrapping(v)),
                    Bias::Rows(v) => Bias::Rows(wrapping(v)),
                };
                let plus = ep.plus.as_ref().map(|p| Plus {
                    alpha: Wrapping(p.alpha),
                    beta: Wrapping(p.beta),
                    of: wrapping(&p.of),
                });
                let Epilogue { accumulate, relu, .. } = ep;
                // SAFETY: the view's own promise; the types have one layout.
                let c = unsafe { Dst::new(c.ptr().cast::<Wrapping<$t>>(), c.shape(), c.strides()) };
                let ep = Epilogue { accumulate, plus, bias, relu };
                product(isa, wrapping(&a), wrapping(&b), c, ep);
            }
        }
    };
}
int_products!(i32: portable_i32 avx2_i32 avx512_i32 neon_i32);
int_products!(i64: portable_i64 avx2_i64 avx512_i64);

/// The same view; the types have one layout.
fn wrapping<'a, T>(v: &Src<'a, T>) -> Src<'a, Wrapping<T>> {
    // SAFETY: the view's own promise.
    unsafe { Src::new(v.ptr().cast(), v.shape(), v.strides()) }
}
