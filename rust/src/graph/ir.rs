//! What a recording consists of.

use crate::args::Arg;
use crate::core::Core;
use crate::device::{Device, cpu};
use crate::dispatch::Form;
use crate::dtype::DType;
use crate::layout::Layout;
use crate::ops::Op;
use smallvec::SmallVec;

/// A value of the graph, by its place in [`Graph::values`].
pub type Id = u32;

/// Where a value comes from.
pub enum Source {
    /// Handed in before each run, at this place.
    Slot(usize),
    /// Made by Python while recording; copied before each run when a step writes into it.
    Constant { core: Core, written: bool },
    /// Memory without values, new in each run.
    Blank,
    /// Made by a step.
    Made,
}

/// A tensor of the graph.
pub struct Value {
    pub source: Source,
    pub layout: Layout,
    pub dtype: DType,
    pub device: Device,
}

/// An argument of a recorded op.
#[derive(Clone)]
pub enum Operand {
    Value(Id),
    Values(Vec<Id>),
    OptValues(Vec<Option<Id>>),
    Constant(Arg),
    /// A float that is known only when the graph runs.
    Number(Number),
}

/// Numbers of an optimizer's step.
#[derive(Clone, PartialEq, Debug)]
pub enum Number {
    /// An option of a parameter group: place in the block of numbers handed in, and its name.
    Option(usize, String),
    /// One more than what each of these values holds (step counts).
    Next(Vec<Id>),
}

/// What a step does.
pub enum Action {
    Call {
        op: &'static Op,
        form: Form,
        args: Vec<Operand>,
        /// New values, or those written to.
        outs: SmallVec<[Id; 1]>,
    },
    /// A copy in memory of its own.
    Copy { from: Id, out: Id },
    /// The memory of `from` under another layout; its offset counts from that of `from`.
    Relayout { from: Id, out: Id, offset: isize },
}

pub struct Step {
    pub action: Action,
    /// File and line of the program.
    pub place: Option<(String, u32)>,
    /// Values that no later step reads: their memory is free for the next ones.
    pub last: SmallVec<[Id; 2]>,
}

/// A recording.
#[derive(Default)]
pub struct Graph {
    pub values: Vec<Value>,
    pub steps: Vec<Step>,
    /// Values that outlive a run, in the order in which [`Graph::run`] returns them.
    pub results: Vec<Id>,
}

impl Action {
    /// Calls `f` with every value that the step reads or writes to.
    pub fn for_each_used(&self, mut f: impl FnMut(Id)) {
        match self {
            Action::Call { args, outs, form, .. } => {
                for a in args {
                    match a {
                        Operand::Value(v) => f(*v),
                        Operand::Values(list) | Operand::Number(Number::Next(list)) => {
                            list.iter().copied().for_each(&mut f)
                        }
                        Operand::OptValues(list) => list.iter().flatten().copied().for_each(&mut f),
                        Operand::Constant(_) | Operand::Number(Number::Option(..)) => {}
                    }
                }
                if *form != Form::New {
                    outs.iter().copied().for_each(f);
                }
            }
            Action::Copy { from, .. } | Action::Relayout { from, .. } => f(*from),
        }
    }

    /// Calls `f` with every value that the step makes.
    pub fn for_each_made(&self, mut f: impl FnMut(Id)) {
        match self {
            Action::Call { outs, form, .. } => {
                if *form == Form::New {
                    outs.iter().copied().for_each(f);
                }
            }
            Action::Copy { out, .. } | Action::Relayout { out, .. } => f(*out),
        }
    }

    /// Calls `f` with every value that the step writes into.
    pub fn for_each_written(&self, mut f: impl FnMut(Id)) {
        let Action::Call { op, form, args, outs } = self else {
            return;
        };
        if *form != Form::New {
            outs.iter().copied().for_each(&mut f);
        }
        let written = op.written(|i| !matches!(args[i], Operand::Constant(Arg::Bool(false))));
        for (i, a) in args.iter().enumerate().filter(|(i, _)| written & (1 << i) != 0) {
            debug_assert!(i < 32);
            match a {
                Operand::Value(v) => f(*v),
                Operand::Values(list) => list.iter().copied().for_each(&mut f),
                _ => {}
            }
        }
    }
}

impl Graph {
    /// Notes with each step which values nobody needs after it.
    pub fn find_last_uses(&mut self) {
        const KEPT: usize = usize::MAX;
        let mut last = vec![0; self.values.len()];
        for (i, step) in self.steps.iter().enumerate() {
            step.action.for_each_used(|v| last[v as usize] = i);
            step.action.for_each_made(|v| last[v as usize] = i);
        }
        for &v in &self.results {
            last[v as usize] = KEPT;
        }
        for step in &mut self.steps {
            step.last.clear();
        }
        for (v, &at) in last.iter().enumerate() {
            if at != KEPT && matches!(self.values[v].source, Source::Made) {
                self.steps[at].last.push(v as Id);
            }
        }
    }

    /// Whether constants of two recordings of one function have the same values; where there are more in one of them (the
    /// first call filled a cache), nothing can be said against it.
    pub fn same_constants(&self, other: &Graph) -> bool {
        let constants = |g: &'_ Graph| -> Vec<Core> {
            let one = |v: &Value| match &v.source {
                Source::Constant { core, .. } => Some(core.clone()),
                _ => None,
            };
            g.values.iter().filter_map(one).collect()
        };
        let (a, b) = (constants(self), constants(other));
        a.len() != b.len() || a.iter().zip(&b).all(|(a, b)| same_elements(a, b))
    }
}

fn same_elements(a: &Core, b: &Core) -> bool {
    if a.shape() != b.shape() || a.dtype != b.dtype || a.device() != b.device() {
        return false;
    }
    if a.device() != Device::Cpu {
        return true;
    }
    match a.dtype.is_float() {
        true => matches!((cpu::to_f64(a), cpu::to_f64(b)), (Ok(a), Ok(b))
            if a.iter().zip(&b).all(|(x, y)| x.to_bits() == y.to_bits())),
        false => matches!((cpu::to_i64(a), cpu::to_i64(b)), (Ok(a), Ok(b)) if a == b),
    }
}
