//! Pointers that count their holders.

use firesteel::shared::Shared;
use std::sync::Arc;

#[test]
fn the_last_holder_drops_the_value() {
    let witness = Arc::new(());
    let a = Shared::new(|| witness.clone());
    let b = a.clone();
    assert_eq!((a.holders(), Arc::strong_count(&witness)), (2, 2));
    drop(a);
    assert_eq!((b.holders(), Arc::strong_count(&witness)), (1, 2));
    drop(b);
    assert_eq!(Arc::strong_count(&witness), 1);
}

#[test]
fn holders_on_several_threads() {
    let witness = Arc::new(());
    let a = Shared::new(|| witness.clone());
    std::thread::scope(|s| {
        for _ in 0..4 {
            let mine = a.clone();
            s.spawn(move || (0..1000).for_each(|_| drop(mine.clone())));
        }
    });
    assert_eq!(a.holders(), 1);
    drop(a);
    assert_eq!(Arc::strong_count(&witness), 1);
}
