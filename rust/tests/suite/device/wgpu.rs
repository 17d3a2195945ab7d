//! Classes of memory on the gpu.

use firesteel::internals::wgpu::{LEAST, class_of};

#[test]
fn classes_cover_every_size_with_at_most_a_quarter_wasted() {
    for bytes in (1..5000).chain([1 << 20, (1 << 20) + 4, 3 << 24, (1 << 27) - 4]) {
        let class = class_of(bytes);
        assert!(class >= bytes && class.is_multiple_of(4));
        assert!(bytes <= LEAST || class <= bytes + bytes / 4 + 4, "{bytes} in {class}");
        assert_eq!(class_of(class), class);
    }
}
