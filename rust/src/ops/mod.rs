//! The op table: every record, by name.

pub mod attention;
pub mod binary;
pub mod conv;
pub mod copy;
pub mod creation;
pub mod def;
pub mod fused;
pub mod index;
pub mod infer;
pub mod join;
pub mod loss;
pub mod masks;
pub mod matmul;
pub mod norm;
pub mod optim;
pub mod pool;
pub mod random;
pub mod reduce;
pub mod resample;
pub mod rnn;
pub mod scan;
pub mod scatter;
pub mod search;
pub mod softmax;
pub mod sort;
pub(crate) mod spatial;
mod support;
pub mod unary;
pub mod views;

pub use def::{Default, Kind, Op, Param, Ty};
use std::collections::HashMap;
use std::sync::LazyLock;

/// All records, in the order of their index.
pub fn table() -> &'static [&'static Op] {
    &TABLE
}

/// The record with this key (`max`, `max.dim`).
pub fn get(key: &str) -> Option<&'static Op> {
    KEYS.get(key).copied()
}

static TABLE: LazyLock<Vec<&'static Op>> = LazyLock::new(|| {
    let families = [
        unary::ops(),
        binary::ops(),
        creation::ops(),
        random::ops(),
        copy::ops(),
        views::ops(),
        reduce::ops(),
        optim::ops(),
        matmul::ops(),
        conv::ops(),
        fused::ops(),
        pool::ops(),
        resample::ops(),
        norm::ops(),
        scan::ops(),
        softmax::ops(),
        loss::ops(),
        sort::ops(),
        index::ops(),
        masks::ops(),
        search::ops(),
        scatter::ops(),
        join::ops(),
        attention::ops(),
        rnn::ops(),
    ];
    families
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(i, b)| b.finish(i))
        .collect()
});

static KEYS: LazyLock<HashMap<&'static str, &'static Op>> =
    LazyLock::new(|| TABLE.iter().map(|o| (o.key, *o)).collect());
