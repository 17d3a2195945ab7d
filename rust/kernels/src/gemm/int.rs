//! Integer products: plain loops over rows of B, wrapping.

use super::{Epilogue, batch_offset};
use crate::parallel;
use crate::view::{Dst, Src};

crate::multiversion! {
    fn add_scaled(sum: &mut [i64], row: &[i64], by: i64) {
        for (s, &v) in sum.iter_mut().zip(row) {
            *s = s.wrapping_add(v.wrapping_mul(by));
        }
    }
}

pub(super) fn product(a: Src<i64>, b: Src<i64>, c: Dst<i64>, ep: Epilogue<i64>) {
    if c.numel() == 0 {
        return;
    }
    let d = c.rank() - 2;
    let (m, n, k) = (c.shape()[d], c.shape()[d + 1], a.shape()[d + 1]);
    let shape = &c.shape()[..d];
    let batch: usize = shape.iter().product();
    let (row_bias, col_bias) = ep.bias.vectors(m, n);
    let grain = (1 << 16) / (n * k).clamp(1, 1 << 16);
    parallel::for_range(batch * m, grain, |range| {
        let mut sum = vec![0i64; n];
        let mut copy: (usize, Vec<i64>) = (usize::MAX, Vec::new());
        for index in range {
            let (which, i) = (index / m, (index % m) as isize);
            let pa = a
                .ptr()
                .wrapping_offset(batch_offset(shape, a.strides(), which) + i * a.strides()[d]);
            let pb = b.ptr().wrapping_offset(batch_offset(shape, b.strides(), which));
            let pc = c
                .ptr()
                .wrapping_offset(batch_offset(shape, c.strides(), which) + i * c.strides()[d]);
            let (b_rs, b_cs, c_cs) = (b.strides()[d], b.strides()[d + 1], c.strides()[d + 1]);
            let at = |j: usize| pc.wrapping_offset(j as isize * c_cs);
            // SAFETY: all indices lie inside the views; threads write different rows.
            unsafe {
                if b_cs != 1 && n > 1 && copy.0 != which {
                    let element = |x: usize| *pb.wrapping_offset((x / n) as isize * b_rs + (x % n) as isize * b_cs);
                    copy = (which, (0..k * n).map(element).collect());
                }
                sum.iter_mut()
                    .enumerate()
                    .for_each(|(j, s)| *s = if ep.accumulate { *at(j) } else { 0 });
                for p in 0..k {
                    let by = *pa.wrapping_offset(p as isize * a.strides()[d + 1]);
                    let row = if b_cs != 1 && n > 1 {
                        &copy.1[p * n..][..n]
                    } else {
                        std::slice::from_raw_parts(pb.wrapping_offset(p as isize * b_rs), n)
                    };
                    add_scaled(&mut sum, row, by);
                }
                for (j, &sum) in sum.iter().enumerate() {
                    let mut v = sum;
                    if let Some(p) = &ep.plus {
                        let summand = p.summand().moved(batch_offset(shape, p.of.strides(), which));
                        let of = *summand.part(i as usize, j).of;
                        v = p.alpha.wrapping_mul(v).wrapping_add(p.beta.wrapping_mul(of));
                    }
                    v = v.wrapping_add(col_bias.as_ref().map_or(0, |v| v[j]));
                    v = v.wrapping_add(row_bias.as_ref().map_or(0, |v| v[i as usize]));
                    *at(j) = if ep.relu { v.max(0) } else { v };
                }
            }
        }
    });
}
