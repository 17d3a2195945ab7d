//! Fusion: steps whose result one other step reads, and that have a kernel together.
//!
//! ```text
//! linear                → relu                              _linear_relu
//! conv1d, 2d, 3d        → batch_norm (eval) → add → relu    _conv_act, any part of the chain
//! _conv_input           → _relu_backward                    _conv_input_relu
//! _max_pool_input(g, y) → _relu_backward(·, y)              _max_pool_input(_relu_backward(g, pooled y), y)
//! ```
//!
//! The kernels give the single ops' bits, so a replay still gives eager's. Fused are values of float32 and float64 on the
//! CPU, row-major, that nobody else reads: also in training, where the backward pass reads what ReLU made and not what it
//! was given. A chain runs where its last step stood; what it reads is there by then, and unchanged: a chain ends before
//! any step that writes into memory.

use super::ir::{Action, Graph, Id, Operand, Source, Step, Value};
use crate::args::Arg;
use crate::device::Device;
use crate::dispatch::Form;
use crate::dtype::{DType, Scalar};
use crate::layout::{Dims, Layout};
use crate::ops::{self, Kind, Op};
use smallvec::SmallVec;

/// Puts together what can be; to be called once, before [`Graph::find_last_uses`].
pub fn fuse(graph: &mut Graph) {
    let mut f = Fusion::new(graph);
    for at in 0..f.graph.steps.len() {
        f.step(at);
    }
    let gone = f.gone;
    let mut at = 0;
    graph.steps.retain(|_| {
        at += 1;
        !gone[at - 1]
    });
}

/// A call of one result in new memory: its op, arguments and result.
struct Made<'a> {
    op: &'static Op,
    args: &'a [Operand],
    out: Id,
}

fn made(step: &Step) -> Option<Made<'_>> {
    match &step.action {
        Action::Call {
            op,
            form: Form::New,
            args,
            outs,
        } => Some(Made {
            op,
            args,
            out: *outs.first()?,
        }),
        _ => None,
    }
}

struct Fusion<'a> {
    graph: &'a mut Graph,
    /// Steps that read or write a value, in order.
    uses: Vec<SmallVec<[usize; 4]>>,
    kept: Vec<bool>,
    gone: Vec<bool>,
    roots: Vec<Id>,
}

impl<'a> Fusion<'a> {
    fn new(graph: &'a mut Graph) -> Self {
        let mut uses = vec![SmallVec::<[usize; 4]>::new(); graph.values.len()];
        for (i, step) in graph.steps.iter().enumerate() {
            step.action.for_each_used(|v| {
                let list = &mut uses[v as usize];
                if list.last() != Some(&i) {
                    list.push(i);
                }
            });
        }
        let mut kept = vec![false; graph.values.len()];
        graph.results.iter().for_each(|&v| kept[v as usize] = true);
        let gone = vec![false; graph.steps.len()];
        let roots = roots(graph);
        Self {
            graph,
            uses,
            kept,
            gone,
            roots,
        }
    }

    fn step(&mut self, at: usize) {
        let Some(first) = made(&self.graph.steps[at]) else {
            return;
        };
        if self.gone[at] || !self.suits(first.out) {
            return;
        }
        match first.op.key {
            "linear" => self.linear(at),
            "conv1d" | "conv2d" | "conv3d" => self.convolution(at),
            "_conv_input" => self.input_gradient(at),
            "_max_pool_input" => self.pooled_gradient(at),
            _ => {}
        }
    }

    /// Whether the fused kernels take and make such values.
    fn suits(&self, v: Id) -> bool {
        let v = &self.graph.values[v as usize];
        v.device == Device::Cpu && matches!(v.dtype, DType::F32 | DType::F64) && v.layout.is_contiguous()
    }

    /// Like `a`: shape and dtype, and suited.
    fn alike(&self, a: Id, b: Id) -> bool {
        let (x, y) = (&self.graph.values[a as usize], &self.graph.values[b as usize]);
        x.layout.shape == y.layout.shape && x.dtype == y.dtype && self.suits(b)
    }

    /// The step that reads `v` first, where it may be put together with the one at `at`: nothing in between writes.
    fn reader(&self, v: Id, at: usize) -> Option<usize> {
        let later = self.uses[v as usize]
            .iter()
            .copied()
            .filter(|&i| i > at && !self.gone[i]);
        let next = later.min()?;
        self.between(at, next)
            .all(|i| self.written(i).is_empty())
            .then_some(next)
    }

    fn between(&self, from: usize, to: usize) -> impl Iterator<Item = usize> + '_ {
        (from + 1..to).filter(|&i| !self.gone[i])
    }

    /// Values that a step writes into.
    fn written(&self, at: usize) -> SmallVec<[Id; 4]> {
        let mut list = SmallVec::new();
        let step = &self.graph.steps[at];
        if !evaluates(step) {
            step.action.for_each_written(|v| list.push(v));
        }
        list
    }

    /// Whether the step at `at` is the only one to read `v` from there on.
    fn is_last(&self, v: Id, at: usize) -> bool {
        !self.kept[v as usize] && self.uses[v as usize].iter().all(|&i| i <= at || self.gone[i])
    }

    /// What `v` becomes by the step at `at`, if that is `op` (of one tensor, or two) on `v`, whose old value nobody else
    /// wants: new, or in place. With the other operand.
    fn becomes(&self, v: Id, at: usize, key: &str) -> Option<(Id, Option<Id>)> {
        let Action::Call { op, form, args, outs } = &self.graph.steps[at].action else {
            return None;
        };
        if op.key != key {
            return None;
        }
        let other = match (args.first()?, args.get(1)) {
            (Operand::Value(a), None) if *a == v => None,
            (Operand::Value(a), Some(Operand::Value(b))) if *a == v && *b != v => Some(*b),
            (Operand::Value(a), Some(Operand::Value(b))) if *b == v && *a != v && *form == Form::New => Some(*a),
            _ => return None,
        };
        let out = *outs.first()?;
        let fits = match form {
            Form::New => self.is_last(v, at) && self.alike(v, out),
            Form::InPlace => out == v,
            Form::Out => false,
        };
        fits.then_some((out, other))
    }

    fn relu(&self, v: Id, at: usize) -> Option<Id> {
        Some(self.becomes(v, at, "relu")?.0)
    }

    /// The sum with another tensor of the same shape, each once.
    fn sum(&self, v: Id, at: usize) -> Option<(Id, Id)> {
        let Action::Call { args, .. } = &self.graph.steps[at].action else {
            return None;
        };
        let one = |a: &Operand| matches!(a, Operand::Constant(Arg::Scalar(Scalar::Int(1)) | Arg::None));
        let once = args.get(2).is_none_or(one);
        let (out, other) = self.becomes(v, at, "add")?;
        other.filter(|&o| once && self.alike(v, o)).map(|other| (out, other))
    }

    /// Puts one call in the place of the last of these steps.
    fn replace(&mut self, steps: &[usize], key: &str, args: Vec<Operand>, out: Id) {
        let (Some(op), Some((&last, before))) = (ops::get(key), steps.split_last()) else {
            return;
        };
        debug_assert_eq!(op.params.len(), args.len());
        for &i in before {
            self.gone[i] = true;
        }
        self.graph.steps[last].action = Action::Call {
            op,
            form: Form::New,
            args,
            outs: SmallVec::from_elem(out, 1),
        };
        self.graph.steps[last]
            .action
            .for_each_used(|v| self.uses[v as usize].push(last));
    }

    fn args(&self, at: usize) -> Vec<Operand> {
        made(&self.graph.steps[at]).map_or_else(Vec::new, |m| m.args.to_vec())
    }

    fn linear(&mut self, at: usize) {
        let Some(v) = made(&self.graph.steps[at]).map(|m| m.out) else {
            return;
        };
        if let Some(next) = self.reader(v, at)
            && let Some(out) = self.relu(v, next)
        {
            let args = self.args(at);
            self.replace(&[at, next], "_linear_relu", args, out);
        }
    }

    fn convolution(&mut self, at: usize) {
        let Some(Made { args, out, .. }) = made(&self.graph.steps[at]) else {
            return;
        };
        let dims = |v: &Operand| match v {
            Operand::Value(v) => self.graph.values[*v as usize].layout.shape,
            _ => Dims::EMPTY,
        };
        let (x, w) = (dims(&args[0]), dims(&args[1]));
        if w.len() < 3 || w[1] == 0 {
            return;
        }
        let batched = x.len() == w.len();
        let mut call = args.to_vec();
        let (mut norm, mut plus, mut positive) = (None, None, false);
        let (mut v, mut steps) = (out, vec![at]);
        while !positive && let Some(next) = self.reader(v, steps[steps.len() - 1]) {
            let first = batched && norm.is_none() && plus.is_none();
            if let Some((out, k)) = first.then(|| self.normalised(v, next)).flatten() {
                (v, norm) = (out, Some(k));
            } else if let Some((out, other)) = self.sum(v, next).filter(|_| plus.is_none()) {
                (v, plus) = (out, Some(other));
            } else if let Some(out) = self.relu(v, next) {
                (v, positive) = (out, true);
            } else {
                break;
            }
            steps.push(next);
        }
        if steps.len() == 1 {
            return;
        }
        let none = || Operand::Constant(Arg::None);
        call.extend(norm.unwrap_or_else(|| {
            let zero = Operand::Constant(Arg::Float(0.0));
            vec![none(), none(), none(), none(), zero]
        }));
        call.push(plus.map_or_else(none, Operand::Value));
        call.push(Operand::Constant(Arg::Bool(positive)));
        self.replace(&steps, "_conv_act", call, v);
    }

    /// The result of batch norm outside training on `v`, and its parameters from the weight to eps.
    fn normalised(&self, v: Id, at: usize) -> Option<(Id, Vec<Operand>)> {
        let Action::Call {
            op,
            form: Form::New,
            args,
            outs,
        } = &self.graph.steps[at].action
        else {
            return None;
        };
        if op.key != "batch_norm" || !evaluates(&self.graph.steps[at]) {
            return None;
        }
        let others_unused = outs[1..]
            .iter()
            .all(|&o| self.uses[o as usize].is_empty() && !self.kept[o as usize]);
        let of_v = matches!(args.first(), Some(Operand::Value(a)) if *a == v);
        let dtype = self.graph.values[v as usize].dtype;
        let same_dtype = args[1..5].iter().all(|a| match a {
            Operand::Value(p) => self.graph.values[*p as usize].dtype == dtype && *p != v,
            other => matches!(other, Operand::Constant(Arg::None)),
        });
        if !of_v || !others_unused || !same_dtype || !self.is_last(v, at) || !self.alike(v, outs[0]) {
            return None;
        }
        let mut k = args[1..5].to_vec();
        k.push(args[7].clone());
        Some((outs[0], k))
    }

    /// The gradient that ReLU's derivative makes of `v`, and the result of that ReLU.
    fn masked(&self, v: Id, at: usize) -> Option<(Id, Id)> {
        let Made { op, args, out } = made(&self.graph.steps[at])?;
        match args {
            [Operand::Value(g), Operand::Value(y)]
                if op.key == "_relu_backward"
                    && *g == v
                    && *y != v
                    && self.is_last(v, at)
                    && self.alike(v, *y)
                    && self.alike(v, out) =>
            {
                Some((out, *y))
            }
            _ => None,
        }
    }

    fn input_gradient(&mut self, at: usize) {
        let mut args = self.args(at);
        let Some(v) = made(&self.graph.steps[at]).map(|m| m.out) else {
            return;
        };
        if let Some(next) = self.reader(v, at)
            && let Some((out, y)) = self.masked(v, next)
        {
            args.push(Operand::Value(y));
            self.replace(&[at, next], "_conv_input_relu", args, out);
        }
    }

    /// A maximum is positive where its window's is: so the smaller gradient may be masked instead.
    fn pooled_gradient(&mut self, at: usize) {
        let Some(Made { args, out: v, .. }) = made(&self.graph.steps[at]) else {
            return;
        };
        let (Operand::Value(g), Operand::Value(x)) = (&args[0], &args[1]) else {
            return;
        };
        let (g, x) = (*g, *x);
        let Some(next) = self.reader(v, at) else {
            return;
        };
        let Some((out, y)) = self.masked(v, next) else {
            return;
        };
        let Some(pooled) = self.pooled(at).filter(|_| y == x && self.suits(g)) else {
            return;
        };
        let Some(mask) = ops::get("_relu_backward").filter(|_| self.alike(g, pooled)) else {
            return;
        };
        let small = self.graph.values.len() as Id;
        let like = &self.graph.values[pooled as usize];
        let value = Value {
            source: Source::Made,
            layout: Layout::contiguous(like.layout.shape),
            dtype: like.dtype,
            device: like.device,
        };
        let mut whole = self.args(at);
        whole[0] = Operand::Value(small);
        let Action::Call { op: pool, .. } = self.graph.steps[at].action else {
            return;
        };
        self.graph.values.push(value);
        self.uses.push(SmallVec::new());
        self.kept.push(false);
        self.roots.push(small);
        self.graph.steps[at].action = Action::Call {
            op: mask,
            form: Form::New,
            args: vec![Operand::Value(g), Operand::Value(pooled)],
            outs: SmallVec::from_elem(small, 1),
        };
        self.uses[pooled as usize].push(at);
        self.graph.steps[next].action = Action::Call {
            op: pool,
            form: Form::New,
            args: whole,
            outs: SmallVec::from_elem(out, 1),
        };
        self.uses[small as usize].push(next);
        self.uses[x as usize].push(next);
    }

    /// The maxima that the gradient at `at` belongs to: of the same windows of the same values.
    fn pooled(&self, at: usize) -> Option<Id> {
        let windows = &made(&self.graph.steps[at])?.args[1..];
        let Operand::Value(values) = windows[0] else {
            return None;
        };
        self.graph.steps[..at].iter().enumerate().find_map(|(i, step)| {
            let Made { op, args, out } = made(step)?;
            let same = !self.gone[i]
                && matches!(op.key, "max_pool1d" | "max_pool2d" | "max_pool3d")
                && args.len() == windows.len()
                && args.iter().zip(windows).all(|(a, b)| same_operand(a, b));
            (same && self.stays(out, i, at) && self.stays(values, i, at)).then_some(out)
        })
    }

    /// Whether the value lies in memory that the graph made, and no step in between writes into that.
    fn stays(&self, v: Id, from: usize, to: usize) -> bool {
        let root = self.roots[v as usize];
        let made = matches!(self.graph.values[root as usize].source, Source::Made);
        made && self
            .between(from, to)
            .all(|i| self.written(i).iter().all(|&w| self.roots[w as usize] != root))
    }
}

/// For each value, the one that its memory was made for.
fn roots(graph: &Graph) -> Vec<Id> {
    let mut roots: Vec<Id> = (0..graph.values.len() as Id).collect();
    for step in &graph.steps {
        match &step.action {
            Action::Relayout { from, out, .. } => roots[*out as usize] = roots[*from as usize],
            Action::Call {
                op,
                form: Form::New,
                args,
                outs,
            } if matches!(op.kind, Kind::View { .. } | Kind::MaybeView { .. }) => {
                if let Some(Operand::Value(from)) = args.first() {
                    outs.iter().for_each(|&o| roots[o as usize] = roots[*from as usize]);
                }
            }
            _ => {}
        }
    }
    roots
}

/// Batch norm outside training, which writes into nothing though its record says that it may.
fn evaluates(step: &Step) -> bool {
    matches!(&step.action, Action::Call { op, args, .. }
        if op.key == "batch_norm" && matches!(args.get(5), Some(Operand::Constant(Arg::Bool(false)))))
}

fn same_operand(a: &Operand, b: &Operand) -> bool {
    match (a, b) {
        (Operand::Value(a), Operand::Value(b)) => a == b,
        (Operand::Constant(Arg::Ints(a)), Operand::Constant(Arg::Ints(b))) => a == b,
        (Operand::Constant(Arg::Bool(a)), Operand::Constant(Arg::Bool(b))) => a == b,
        _ => false,
    }
}
