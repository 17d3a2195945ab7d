//! A graph as text: one line per step.
//!
//! ```text
//! %0 = x                      float32[64, 784]
//! %7 = linear(%0, %1, %2)     float32[64, 128]    train.py:12
//! %1 = _sgd_step([%1, …], …, lr=lr)
//! ```

use super::ir::{Action, Graph, Id, Number, Operand, Source};
use crate::args::Arg;
use crate::dispatch::Form;
use crate::dtype::Scalar;
use std::fmt::Write;

impl Graph {
    /// `slots`: a name for each slot.
    pub fn text(&self, slots: &[String]) -> String {
        let mut out = String::new();
        for (id, v) in self.values.iter().enumerate() {
            match &v.source {
                Source::Slot(i) => {
                    let name = slots.get(*i).map_or("?", String::as_str);
                    let _ = writeln!(out, "%{id} = {name}: {}", self.kind(id as Id));
                }
                Source::Constant { .. } => {
                    let _ = writeln!(out, "%{id} = constant: {}", self.kind(id as Id));
                }
                Source::Blank => {
                    let _ = writeln!(out, "%{id} = empty: {}", self.kind(id as Id));
                }
                Source::Made => {}
            }
        }
        for i in 0..self.steps.len() {
            let _ = writeln!(out, "{}", self.step_text(i));
        }
        out
    }

    /// One step.
    pub fn step_text(&self, i: usize) -> String {
        let step = &self.steps[i];
        let mut line = match &step.action {
            Action::Call { op, form, args, outs } => {
                let mut parts: Vec<String> = Vec::new();
                for (p, a) in op.params.iter().zip(args) {
                    let text = operand(a);
                    let default = crate::ops::Default::python(&p.default);
                    match a {
                        Operand::Constant(Arg::None) => {}
                        Operand::Constant(_) if text == default => {}
                        Operand::Constant(_) | Operand::Number(_) => parts.push(format!("{}={text}", p.name)),
                        _ => parts.push(text),
                    }
                }
                let made: Vec<String> = outs.iter().map(|v| format!("%{v}")).collect();
                match form {
                    Form::New if outs.is_empty() => format!("{}({})", op.key, parts.join(", ")),
                    Form::New => {
                        let kinds: Vec<String> = outs.iter().map(|&v| self.kind(v)).collect();
                        format!(
                            "{} = {}({}): {}",
                            made.join(", "),
                            op.key,
                            parts.join(", "),
                            kinds.join(", ")
                        )
                    }
                    Form::InPlace => format!("{}({})", op.inplace_name, parts.join(", ")),
                    Form::Out => format!("{}({}, out={})", op.key, parts.join(", "), made.join(", ")),
                }
            }
            Action::Copy { from, out } => format!("%{out} = copy(%{from}): {}", self.kind(*out)),
            Action::Relayout { from, out, .. } => format!("%{out} = alias(%{from}): {}", self.kind(*out)),
        };
        if let Some((file, at)) = &step.place {
            let file = file.rsplit('/').next().unwrap_or(file);
            let _ = write!(line, "  # {file}:{at}");
        }
        line
    }

    fn kind(&self, v: Id) -> String {
        let v = &self.values[v as usize];
        let sizes: Vec<String> = v.layout.shape.iter().map(usize::to_string).collect();
        format!("{}[{}]", v.dtype.name(), sizes.join(", "))
    }
}

fn list<T>(items: impl IntoIterator<Item = T>, text: impl Fn(T) -> String) -> String {
    let parts: Vec<String> = items.into_iter().map(text).collect();
    format!("[{}]", parts.join(", "))
}

fn operand(o: &Operand) -> String {
    match o {
        Operand::Value(v) => format!("%{v}"),
        Operand::Values(ids) => list(ids, |v| format!("%{v}")),
        Operand::OptValues(ids) => list(ids, |v| v.map_or("None".into(), |v| format!("%{v}"))),
        Operand::Number(Number::Option(_, name)) => format!("group[{name:?}]"),
        Operand::Number(Number::Next(ids)) => list(ids, |v| format!("%{v} + 1")),
        Operand::Constant(a) => constant(a),
    }
}

fn boolean(v: bool) -> String {
    if v { "True" } else { "False" }.into()
}

fn constant(a: &Arg) -> String {
    match a {
        Arg::None => "None".into(),
        Arg::Scalar(Scalar::Bool(v)) | Arg::Bool(v) => boolean(*v),
        Arg::Scalar(Scalar::Int(v)) | Arg::Int(v) => v.to_string(),
        Arg::Scalar(Scalar::Float(v)) | Arg::Float(v) => format!("{v:?}"),
        Arg::Ints(l) => list(l, |v| v.to_string()),
        Arg::Floats(l) => list(l, |v| format!("{v:?}")),
        Arg::Str(s) => format!("'{s}'"),
        Arg::Dtype(d) => d.name().into(),
        Arg::Device(d) => d.name().into(),
        Arg::Generator(_) => "generator".into(),
        Arg::Tensor(_) | Arg::Tensors(_) | Arg::OptTensors(_) => "tensor".into(),
    }
}
