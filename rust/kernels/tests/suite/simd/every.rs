//! Elements a few apart.

use firesteel_kernels::internals::every::every;

#[test]
fn all_distances() {
    let from: Vec<u64> = (0..9000).collect();
    let small: Vec<u8> = (0..9000).map(|i| (i % 251) as u8).collect();
    for n in [0usize, 1, 7, 8, 15, 16, 17, 63, 64, 65, 127, 1000] {
        for step in [0isize, 1, 2, 3, 4, 5, 9] {
            let (mut to, mut bytes) = (vec![0u64; n + 1], vec![0u8; n + 1]);
            // SAFETY: 9 times the most elements, and room for them.
            unsafe {
                every(from.as_ptr(), step, to.as_mut_ptr(), n);
                every(small.as_ptr(), step, bytes.as_mut_ptr(), n);
            }
            for i in 0..n {
                assert_eq!(to[i], from[i * step as usize], "{i} of {n}, {step} apart");
                assert_eq!(bytes[i], small[i * step as usize], "{i} of {n}, {step} apart");
            }
            assert_eq!((to[n], bytes[n]), (0, 0));
        }
    }
}
