//! Memory and its pool.

use firesteel::buffer::Buffer;
use firesteel::internals::buffer::{CLASSES, class_bytes, class_of};

#[test]
fn classes_cover_every_size_with_at_most_a_quarter_wasted() {
    let mut bytes = 1usize;
    while bytes < 1 << 44 {
        for b in [bytes, bytes + 1, bytes * 3 / 2 + 7] {
            let c = class_of(b);
            assert!(
                c < CLASSES && class_bytes(c) >= b,
                "{b} bytes in class {c} of {}",
                class_bytes(c)
            );
            assert!(
                b <= 512 || class_bytes(c) <= b + b / 4 + 1,
                "{b} bytes waste in {}",
                class_bytes(c)
            );
            assert!(c == 0 || class_bytes(c - 1) < b);
        }
        bytes = bytes * 5 / 4 + 1;
    }
}

#[test]
fn freed_blocks_are_reused() {
    let a = Buffer::new(1 << 20).unwrap();
    let p = a.ptr();
    drop(a);
    assert_eq!(Buffer::new(1 << 20).unwrap().ptr(), p);
}

#[test]
fn a_mapped_file_and_its_parts() {
    let path = std::env::temp_dir().join(format!("firesteel-mapped-{}", std::process::id()));
    std::fs::write(&path, [1u8, 2, 3, 4]).unwrap();
    let whole = Buffer::mapped(&std::fs::File::open(&path).unwrap()).unwrap();
    let part = Buffer::part(&whole, 1, 2).unwrap();
    assert!(Buffer::part(&whole, 3, 2).is_none() && Buffer::part(&whole, usize::MAX, 2).is_none());
    drop(whole);
    // SAFETY: two bytes of a private mapping that the part keeps alive.
    let bytes = unsafe { std::slice::from_raw_parts_mut(part.ptr(), part.bytes()) };
    bytes[0] = 9;
    assert_eq!(
        (bytes, std::fs::read(&path).unwrap()),
        (&mut [9u8, 3][..], vec![1, 2, 3, 4])
    );
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn absurd_sizes_are_refused() {
    assert!(Buffer::new(usize::MAX / 2).is_err());
    assert!(Buffer::new(1 << 60).is_err());
}
