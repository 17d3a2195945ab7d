//! Arguments of an op call, bound to the record's parameters and converted, in order.
//!
//! The typed getters panic when a position holds another kind of value: the binding checked them against the record, so
//! that is a fault of the record (and a test that calls it shows it).

use crate::core::Core;
use crate::device::Device;
use crate::dtype::{DType, Scalar};
use crate::generator::Generator;
use smallvec::SmallVec;
use std::sync::Arc;

/// A few ints inline: the common strides, paddings and dims.
pub type Ints = SmallVec<[i64; 4]>;

/// One argument.
#[derive(Clone)]
pub enum Arg {
    None,
    Tensor(Core),
    Tensors(Vec<Core>),
    /// Tensors of which some are None (`x[i, :, j]`).
    OptTensors(Vec<Option<Core>>),
    Scalar(Scalar),
    Int(i64),
    Ints(Ints),
    Float(f64),
    Floats(SmallVec<[f64; 4]>),
    Bool(bool),
    Str(Box<str>),
    Dtype(DType),
    Device(Device),
    Generator(Arc<Generator>),
}

/// All arguments of a call.
#[derive(Default)]
pub struct Args {
    pub items: SmallVec<[Arg; 4]>,
    /// The cores in `Arg::Tensor` and `Arg::Tensors` are borrowed: bitwise copies of cores that someone else keeps alive, not counted and not
    /// to be dropped. (Counting them took a quarter of `a + b`: four locked instructions.) A clone owns its cores.
    lent: bool,
}

impl Args {
    /// Arguments whose tensors are lent; what is pushed as `Arg::Tensor`, or in `Arg::Tensors`, must be a bitwise copy that
    /// its owner outlives.
    pub fn lent() -> Args {
        Args {
            items: SmallVec::new(),
            lent: true,
        }
    }
}

impl Clone for Args {
    fn clone(&self) -> Args {
        Args {
            items: self.items.clone(),
            lent: false,
        }
    }
}

impl Drop for Args {
    #[inline]
    fn drop(&mut self) {
        if self.lent {
            for item in self.items.drain(..) {
                match item {
                    Arg::Tensor(core) => std::mem::forget(core),
                    Arg::Tensors(list) => list.into_iter().for_each(std::mem::forget),
                    _ => {}
                }
            }
        }
    }
}

impl std::ops::Index<usize> for Args {
    type Output = Arg;
    #[inline(always)]
    fn index(&self, i: usize) -> &Arg {
        &self.items[i]
    }
}

/// A rule or kernel that reads its record wrongly: arguments are of the record's types once they are bound, whatever Python gave.
#[cold]
#[inline(never)]
fn wrong(i: usize, want: &str) -> ! {
    panic!("argument {i} of the record is not {want}")
}

impl Args {
    #[inline(always)]
    pub fn tensor(&self, i: usize) -> &Core {
        match &self.items[i] {
            Arg::Tensor(c) => c,
            _ => wrong(i, "a tensor"),
        }
    }
    pub fn opt_tensor(&self, i: usize) -> Option<&Core> {
        match &self.items[i] {
            Arg::Tensor(c) => Some(c),
            Arg::None => None,
            _ => wrong(i, "an optional tensor"),
        }
    }
    pub fn tensors(&self, i: usize) -> &[Core] {
        match &self.items[i] {
            Arg::Tensors(c) => c,
            _ => wrong(i, "a list of tensors"),
        }
    }
    pub fn opt_tensors(&self, i: usize) -> &[Option<Core>] {
        match &self.items[i] {
            Arg::OptTensors(c) => c,
            _ => wrong(i, "a list of optional tensors"),
        }
    }
    pub fn scalar(&self, i: usize) -> Scalar {
        match &self.items[i] {
            Arg::Scalar(s) => *s,
            _ => wrong(i, "a number"),
        }
    }
    pub fn opt_scalar(&self, i: usize) -> Option<Scalar> {
        match &self.items[i] {
            Arg::Scalar(s) => Some(*s),
            Arg::None => None,
            _ => wrong(i, "an optional number"),
        }
    }
    pub fn int(&self, i: usize) -> i64 {
        match &self.items[i] {
            Arg::Int(v) => *v,
            _ => wrong(i, "an int"),
        }
    }
    pub fn opt_int(&self, i: usize) -> Option<i64> {
        match &self.items[i] {
            Arg::Int(v) => Some(*v),
            Arg::None => None,
            _ => wrong(i, "an optional int"),
        }
    }
    pub fn ints(&self, i: usize) -> &[i64] {
        match &self.items[i] {
            Arg::Ints(v) => v,
            _ => wrong(i, "ints"),
        }
    }
    pub fn opt_ints(&self, i: usize) -> Option<&[i64]> {
        match &self.items[i] {
            Arg::Ints(v) => Some(v),
            Arg::None => None,
            _ => wrong(i, "optional ints"),
        }
    }
    pub fn float(&self, i: usize) -> f64 {
        match &self.items[i] {
            Arg::Float(v) => *v,
            _ => wrong(i, "a float"),
        }
    }
    pub fn floats(&self, i: usize) -> &[f64] {
        match &self.items[i] {
            Arg::Floats(v) => v,
            _ => wrong(i, "floats"),
        }
    }
    pub fn bool(&self, i: usize) -> bool {
        match &self.items[i] {
            Arg::Bool(v) => *v,
            _ => wrong(i, "a bool"),
        }
    }
    pub fn str(&self, i: usize) -> &str {
        match &self.items[i] {
            Arg::Str(v) => v,
            _ => wrong(i, "a string"),
        }
    }
    pub fn dtype(&self, i: usize) -> Option<DType> {
        match &self.items[i] {
            Arg::Dtype(v) => Some(*v),
            Arg::None => None,
            _ => wrong(i, "a dtype"),
        }
    }
    pub fn device(&self, i: usize) -> Option<Device> {
        match &self.items[i] {
            Arg::Device(v) => Some(*v),
            Arg::None => None,
            _ => wrong(i, "a device"),
        }
    }
    pub fn generator(&self, i: usize) -> Arc<Generator> {
        match &self.items[i] {
            Arg::Generator(v) => v.clone(),
            Arg::None => crate::generator::default_generator(),
            _ => wrong(i, "a generator"),
        }
    }

    /// Calls `f` for every tensor among the arguments.
    #[inline]
    pub fn for_each_tensor<'a>(&'a self, mut f: impl FnMut(&'a Core)) {
        for a in &self.items {
            match a {
                Arg::Tensor(c) => f(c),
                Arg::Tensors(list) => list.iter().for_each(&mut f),
                Arg::OptTensors(list) => list.iter().flatten().for_each(&mut f),
                _ => {}
            }
        }
    }
}
