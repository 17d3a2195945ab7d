//! Recording: what dispatch tells while a function runs becomes a [`Graph`].
//!
//! A buffer is known by its number if it was made while recording and by its address if it belongs to a slot, whose
//! tensor is held. So the recorder holds no memory that the function makes, and changes nothing for those who ask whether
//! anybody else holds a buffer.

use super::ir::{Action, Graph, Id, Number, Operand, Source, Step, Value};
use crate::args::{Arg, Args};
use crate::buffer;
use crate::core::Core;
use crate::dispatch::{self, Form, Watch};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::ops::{Op, Ty};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::collections::HashMap;

/// Names a buffer for the time of a recording.
type Memory = (bool, u64);

struct Known {
    values: Vec<(Layout, DType, Id)>,
}

/// Options of the group whose step comes next.
struct Group {
    /// Option's name → place in the block of numbers.
    options: Vec<(String, usize)>,
    counters: Vec<Core>,
}

struct Recorder {
    graph: Graph,
    memory: HashMap<Memory, Known>,
    /// Tensors of the slots: alive, so that their addresses mean them.
    slots: Vec<Core>,
    /// First number of a buffer made since recording began.
    first: u64,
    group: Option<Group>,
    /// File and line of the program, as last told.
    place: Option<(String, u32)>,
}

thread_local! {
    static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

static WATCH: Watch = Watch { ran, copied };

/// Begins on this thread.
pub fn begin() -> Result<()> {
    RECORDER.with(|r| {
        let mut r = r.borrow_mut();
        if r.is_some() {
            return Error::recording("a recording is under way on this thread");
        }
        let first = buffer::watch(true);
        *r = Some(Recorder {
            graph: Graph::default(),
            memory: HashMap::new(),
            slots: Vec::new(),
            first,
            group: None,
            place: None,
        });
        dispatch::watch(Some(&WATCH));
        Ok(())
    })
}

/// What a recording leaves behind.
pub struct Recorded {
    pub graph: Graph,
    /// Buffers made since it began are numbered from here on.
    pub first: u64,
    /// Which step made a buffer, by number.
    makers: HashMap<u64, usize>,
}

impl Recorded {
    /// The op that made a buffer, and where.
    pub fn maker(&self, serial: u64) -> Option<&Step> {
        self.makers.get(&serial).map(|&i| &self.graph.steps[i])
    }
}

/// Ends the recording of this thread; `None` when there was none. Slots and results are set by the caller.
pub fn end() -> Option<Recorded> {
    dispatch::watch(None);
    buffer::watch(false);
    let r = RECORDER.with(|r| r.borrow_mut().take())?;
    let mut maker_of = HashMap::new();
    for (i, s) in r.graph.steps.iter().enumerate() {
        s.action.for_each_made(|v| {
            maker_of.insert(v, i);
        });
    }
    let mut makers = HashMap::new();
    for ((numbered, serial), known) in &r.memory {
        let first = known.values.iter().map(|v| v.2).min();
        if let (true, Some(&i)) = (numbered, first.and_then(|v| maker_of.get(&v))) {
            makers.insert(*serial, i);
        }
    }
    let mut graph = r.graph;
    let mut written = vec![false; graph.values.len()];
    for s in &graph.steps {
        s.action.for_each_written(|v| written[v as usize] = true);
    }
    // A write through one layout is a write to all of the same memory.
    for known in r.memory.values() {
        if known.values.iter().any(|v| written[v.2 as usize]) {
            for (_, _, v) in &known.values {
                if let Source::Constant { written, .. } = &mut graph.values[*v as usize].source {
                    *written = true;
                }
            }
        }
    }
    Some(Recorded {
        graph,
        first: r.first,
        makers,
    })
}

/// The line of the program that runs the next ops.
pub fn at(place: Option<(String, u32)>) -> Result<()> {
    with(|r| {
        r.place = place;
        Ok(())
    })
}

fn with<R>(f: impl FnOnce(&mut Recorder) -> Result<R>) -> Result<R> {
    RECORDER.with(|r| match &mut *r.borrow_mut() {
        Some(r) => f(r),
        None => Error::recording("nothing is being recorded on this thread"),
    })
}

/// Whether the tensor's memory is known: a slot's, or made by a recorded op.
pub fn knows(core: &Core) -> Result<bool> {
    with(|r| Ok(r.memory.contains_key(&memory(core))))
}

/// Whether the tensor's memory is known, with its layout and dtype.
pub fn knows_as(core: &Core) -> Result<bool> {
    with(|r| {
        Ok(r.memory.get(&memory(core)).is_some_and(|known| {
            let mut values = known.values.iter();
            values.any(|v| v.0 == core.layout && v.1 == core.dtype)
        }))
    })
}

/// Whether the tensor's memory was made since recording began.
pub fn is_new(core: &Core) -> Result<bool> {
    with(|r| Ok(core.buffer.serial() >= r.first))
}

/// A tensor that will be handed in; its slot's number.
pub fn slot(core: &Core) -> Result<usize> {
    with(|r| {
        let n = r.slots.len();
        r.slots.push(core.clone());
        let id = r.value(core, Source::Slot(n));
        r.learn(core, id);
        Ok(n)
    })
}

/// A tensor that Python made from its own data while recording: as it is now, it is part of the graph.
pub fn constant(core: &Core) -> Result<()> {
    if core.buffer.is_foreign() {
        return Error::recording(
            "a compiled function must not take in memory of other libraries (from_numpy, from_dlpack): pass it as an argument",
        );
    }
    let kept = unwatched(|| dispatch::fresh_copy(core))?;
    with(|r| {
        let id = r.value(
            core,
            Source::Constant {
                core: kept,
                written: false,
            },
        );
        r.learn(core, id);
        Ok(())
    })
}

/// Memory without values that the binding made.
pub fn blank(core: &Core) -> Result<()> {
    with(|r| {
        let id = r.value(core, Source::Blank);
        r.learn(core, id);
        Ok(())
    })
}

/// The value that a tensor is in the graph; its memory must be known.
pub fn value_of(core: &Core) -> Result<Id> {
    with(|r| r.find(core))
}

/// The options and step counts of the optimizer's step that comes next.
pub fn group(options: Vec<(String, usize)>, counters: Vec<Core>) -> Result<()> {
    with(|r| {
        r.group = Some(Group { options, counters });
        Ok(())
    })
}

/// Runs `f` without anybody being told.
fn unwatched<R>(f: impl FnOnce() -> R) -> R {
    let before = dispatch::watch(None);
    buffer::watch(false);
    let result = f();
    buffer::watch(true);
    dispatch::watch(before);
    result
}

fn memory(core: &Core) -> Memory {
    match core.buffer.serial() {
        0 => (false, core.buffer.address() as u64),
        n => (true, n),
    }
}

fn ran(op: &'static Op, form: Form, args: &Args, outs: &[Core]) -> Result<()> {
    with(|r| r.call(op, form, args, outs))
}

fn copied(from: &Core, to: &Core) -> Result<()> {
    with(|r| {
        let from = r.find(from)?;
        let out = r.value(to, Source::Made);
        r.learn(to, out);
        r.step(Action::Copy { from, out });
        Ok(())
    })
}

impl Recorder {
    fn value(&mut self, core: &Core, source: Source) -> Id {
        self.graph.values.push(Value {
            source,
            layout: core.layout,
            dtype: core.dtype,
            device: core.device(),
        });
        (self.graph.values.len() - 1) as Id
    }

    /// From now on, a tensor with these elements is `id`.
    fn learn(&mut self, core: &Core, id: Id) {
        let known = self
            .memory
            .entry(memory(core))
            .or_insert_with(|| Known { values: Vec::new() });
        known.values.push((core.layout, core.dtype, id));
    }

    fn step(&mut self, action: Action) {
        self.graph.steps.push(Step {
            action,
            place: self.place.clone(),
            last: SmallVec::new(),
        });
    }

    fn find(&mut self, core: &Core) -> Result<Id> {
        let Some(known) = self.memory.get(&memory(core)) else {
            return Error::recording(format!(
                "a tensor of shape {} is used that the recording knows nothing of: pass it as an argument",
                core.shape()
            ));
        };
        let same = |v: &&(Layout, DType, Id)| v.0 == core.layout && v.1 == core.dtype;
        if let Some(v) = known.values.iter().find(same) {
            return Ok(v.2);
        }
        let (layout, dtype, from) = known.values[0];
        if dtype != core.dtype {
            return Error::recording(format!(
                "memory of {} is used as {}: that cannot be recorded",
                dtype.name(),
                core.dtype.name()
            ));
        }
        let offset = core.layout.offset as isize - layout.offset as isize;
        let out = self.value(core, Source::Made);
        self.learn(core, out);
        self.step(Action::Relayout { from, out, offset });
        Ok(out)
    }

    fn operand(&mut self, a: &Arg) -> Result<Operand> {
        Ok(match a {
            Arg::Tensor(c) => Operand::Value(self.find(c)?),
            Arg::Tensors(list) => Operand::Values(list.iter().map(|c| self.find(c)).collect::<Result<_>>()?),
            Arg::OptTensors(list) => Operand::OptValues(
                list.iter()
                    .map(|c| c.as_ref().map(|c| self.find(c)).transpose())
                    .collect::<Result<_>>()?,
            ),
            other => Operand::Constant(other.clone()),
        })
    }

    fn call(&mut self, op: &'static Op, form: Form, args: &Args, outs: &[Core]) -> Result<()> {
        let mut operands = args.items.iter().map(|a| self.operand(a)).collect::<Result<Vec<_>>>()?;
        if op.mutates != 0
            && let Some(group) = self.group.take()
        {
            self.put_numbers(op, group, &mut operands)?;
        }
        let mut ids = SmallVec::new();
        for core in outs {
            ids.push(match form {
                Form::New => self.value(core, Source::Made),
                _ => self.find(core)?,
            });
        }
        self.step(Action::Call {
            op,
            form,
            args: operands,
            outs: ids.clone(),
        });
        if form == Form::New {
            for (core, id) in outs.iter().zip(ids) {
                self.learn(core, id);
            }
        }
        Ok(())
    }

    /// Floats that are options of the group, and step counts, are read anew in every run.
    fn put_numbers(&mut self, op: &'static Op, group: Group, operands: &mut [Operand]) -> Result<()> {
        for (p, o) in op.params.iter().zip(operands) {
            match p.ty {
                Ty::Float => {
                    if let Some((_, place)) = group.options.iter().find(|(n, _)| n == p.name) {
                        *o = Operand::Number(Number::Option(*place, p.name.to_string()));
                    }
                }
                Ty::Floats if p.name == "steps" => {
                    let counters = group.counters.iter().map(|c| self.find(c)).collect::<Result<_>>()?;
                    *o = Operand::Number(Number::Next(counters));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
