//! Unique values of a whole view.

use super::by_sortable;
use super::keys::{Sortable, sort_entries};
use crate::dtype::{Bool, DType};
use crate::reduce::walk::collect;
use crate::view::AnySrc;

/// Groups of equal elements; each NaN is a group of its own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Unique {
    /// Where in row-major order each group's first element is.
    pub first: Vec<i64>,
    /// The group of each element.
    pub inverse: Vec<i64>,
    /// The size of each group.
    pub counts: Vec<i64>,
}

impl Unique {
    fn add(&mut self, index: usize, starts: bool) {
        if starts {
            self.first.push(index as i64);
            self.counts.push(0);
        }
        self.inverse[index] = self.first.len() as i64 - 1;
        if let Some(count) = self.counts.last_mut() {
            *count += 1;
        }
    }
}

/// Groups of equal elements in ascending order of their values.
pub fn unique_sorted(src: AnySrc) -> Unique {
    by_sortable!(src.dtype(), T => sorted(&collect(&src.typed::<T>())))
}

/// Groups of equal neighbours, in the order they come.
pub fn unique_consecutive(src: AnySrc) -> Unique {
    by_sortable!(src.dtype(), T => consecutive(&collect(&src.typed::<T>())))
}

fn empty(n: usize) -> Unique {
    Unique {
        inverse: vec![0; n],
        ..Unique::default()
    }
}

fn sorted<T: Sortable>(all: &[T]) -> Unique {
    let mut entries: Vec<u128> = all
        .iter()
        .enumerate()
        .map(|(i, x)| (x.key() as u128) << 64 | i as u128)
        .collect();
    sort_entries(&mut entries, &mut Vec::new(), T::BITS);
    let mut groups = empty(all.len());
    let mut before = None;
    for e in entries {
        let (key, index) = (e >> 64, e as u64 as usize);
        groups.add(index, before != Some(key) || all[index].nan());
        before = Some(key);
    }
    groups
}

fn consecutive<T: Sortable>(all: &[T]) -> Unique {
    let mut groups = empty(all.len());
    for (i, x) in all.iter().enumerate() {
        groups.add(i, i == 0 || x.nan() || x.key() != all[i - 1].key());
    }
    groups
}
