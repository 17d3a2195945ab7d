//! Images of one to three dims as those of three.

use firesteel::internals::conv::five;
use firesteel::{Dims, Layout};

#[test]
fn five_dims_from_any_number() {
    let l = Layout::contiguous(Dims::new(&[2, 3, 5]).unwrap());
    assert_eq!(
        (&*five(&l, 1).shape, five(&l, 1).strides()),
        (&[2, 3, 1, 1, 5][..], &[15, 5, 0, 0, 1][..])
    );
    assert_eq!(
        (&*five(&l, 2).shape, five(&l, 2).strides()),
        (&[1, 2, 1, 3, 5][..], &[0, 15, 0, 5, 1][..])
    );
    let l = Layout::contiguous(Dims::new(&[2, 3, 5, 7]).unwrap());
    assert_eq!(
        (&*five(&l, 3).shape, five(&l, 3).strides()),
        (&[1, 2, 3, 5, 7][..], &[0, 105, 35, 7, 1][..])
    );
}
