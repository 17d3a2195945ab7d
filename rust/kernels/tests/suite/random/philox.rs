//! The generator itself.

use firesteel_kernels::internals::philox::{LANES, lanes, words};
use firesteel_kernels::random::Philox;

/// The known answers that come with Random123.
#[test]
fn known_answers() {
    let table = [
        ([0; 4], [0; 2], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]),
        (
            [u32::MAX; 4],
            [u32::MAX; 2],
            [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
        ),
        (
            [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
            [0xa4093822, 0x299f31d0],
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
        ),
    ];
    for (counter, key, want) in table {
        let got = lanes(counter.map(|w: u32| [w as u64; LANES]), key);
        assert_eq!(got.map(|w| w[LANES - 1] as u32), want, "counter {counter:x?}");
    }
    let mut first = [0; 8];
    words(Philox { seed: 0, offset: 0 }, 0, 0, &mut first);
    assert_eq!(first[..4], table[0].2);
    let mut later = [0; 4];
    words(Philox { seed: 0, offset: 1 }, 0, 0, &mut later);
    assert_eq!(first[4..], later);
}
