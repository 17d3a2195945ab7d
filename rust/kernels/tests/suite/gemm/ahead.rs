//! Which lines tiles ask for.

use firesteel_kernels::internals::ahead::{LINE, Runs};

/// Tiles together ask for each line of a matrix once, whatever the shares.
#[test]
fn shares_cover_all_lines_once() {
    for count in [1, 7, 16, 63, 171, 512] {
        for len in [1, 15, 16, 17, 64, 127, 512] {
            for tiles in [1, 3, 5, 12, 13, 416] {
                let start = 1 << 20;
                let runs = Runs::of(std::ptr::without_provenance::<u8>(start), 4, [count, len], [1024, 1]);
                let lines = (4 * len).div_ceil(LINE);
                let mut seen = vec![0; count * lines];
                let mut shares = runs.shares(tiles);
                for _ in 0..tiles {
                    let ahead = shares.next();
                    for run in 0..ahead.runs {
                        let at = ahead.at.wrapping_offset(run as isize * ahead.step).addr() - start;
                        (0..ahead.lines).for_each(|line| seen[at / 4096 * lines + at % 4096 / LINE + line] += 1);
                    }
                }
                assert!(seen.iter().all(|n| *n == 1), "{count} {len} {tiles}");
            }
        }
    }
}

#[test]
fn elements_far_apart_are_not_asked_for() {
    let at = std::ptr::without_provenance::<u8>(64);
    for strides in [[1000, 5], [7, 9], [-1, 50], [64, -2]] {
        let runs = Runs::of(at, 4, [10, 10], strides);
        assert_eq!(runs.shares(1).next().runs, 0, "{strides:?}");
    }
    for sizes in [[0, 10], [10, 0]] {
        assert_eq!(Runs::of(at, 4, sizes, [10, 1]).shares(1).next().runs, 0);
    }
    assert_eq!(Runs::NONE.shares(4).next().runs, 0);
}
