//! Memory that threads keep.

use firesteel_kernels::internals::scratch::with;

#[test]
fn nested_calls_have_memory_of_their_own() {
    with::<u64, _>(100, |a| {
        a.fill(1);
        with::<u64, _>(1000, |b| {
            b.fill(2);
            with::<u32, _>(0, |c| assert!(c.is_empty()));
        });
        assert!(a.iter().all(|v| *v == 1));
    });
    let before = with::<u64, _>(50, |a| a.as_ptr() as usize);
    assert_eq!(with::<u64, _>(50, |a| a.as_ptr() as usize), before, "kept");
}
