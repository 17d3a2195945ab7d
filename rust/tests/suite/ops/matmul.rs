//! Which products a stack of matrices is computed as.

use firesteel::internals::matmul::plan;
use firesteel::{Dims, Layout};

fn layout(sizes: &[usize]) -> Layout {
    Layout::contiguous(Dims::new(sizes).unwrap())
}

#[test]
fn a_stack_times_one_matrix_is_one_product() {
    let p = plan(&layout(&[2, 3, 4, 5]), &layout(&[5, 6])).unwrap();
    assert_eq!((&*p.c, &*p.shape), (&[24, 6][..], &[2, 3, 4, 6][..]));
    let p = plan(&layout(&[2, 3, 5]), &layout(&[5])).unwrap();
    assert_eq!((&*p.c, &*p.shape), (&[6, 1][..], &[2, 3][..]));
}

#[test]
fn rows_that_do_not_follow_each_other_stay_a_stack() {
    let p = plan(&layout(&[3, 2, 5]).transpose(0, 1), &layout(&[5, 6])).unwrap();
    assert_eq!((&*p.c, p.b.strides()), (&[2, 3, 6][..], &[0, 6, 1][..]));
}
