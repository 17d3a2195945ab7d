//! Elementwise ops: one expression for each element, broadcast and strided operands.

use super::shader::{EACH, Word, header, linked};
use super::{Buffers, GROUP, groups, not_for, run, size32, word};
use crate::args::{Arg, Args};
use crate::core::Core;
use crate::device::Device;
use crate::device::cpu;
use crate::device::wgpu::{self, Job};
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::layout::Layout;

use smallvec::SmallVec;

/// The WGSL of an elementwise op, by what it is computed in; where there is none, the op is not there for such dtypes.
#[derive(Clone, Copy, Default)]
pub struct Map {
    pub float: &'static str,
    pub int: &'static str,
    pub bools: &'static str,
    /// The expression's value is a bool whatever is computed in.
    pub truth: bool,
    /// int64 may be the result: values are chosen, not computed.
    pub long: bool,
}

/// For floats only.
pub const fn float(text: &'static str) -> Map {
    Map {
        float: text,
        int: "",
        bools: "",
        truth: false,
        long: false,
    }
}

/// The same text for floats and integers, whose value is a bool.
pub const fn truth(text: &'static str) -> Map {
    Map {
        float: text,
        int: text,
        bools: "",
        truth: true,
        long: false,
    }
}

/// For bools only.
pub const fn bools(text: &'static str) -> Map {
    Map {
        float: "",
        int: "",
        bools: text,
        truth: false,
        long: false,
    }
}

impl Map {
    pub const fn int(mut self, text: &'static str) -> Map {
        self.int = text;
        self
    }
    pub const fn bools(mut self, text: &'static str) -> Map {
        self.bools = text;
        self
    }
    pub const fn long(mut self) -> Map {
        self.long = true;
        self
    }
}

/// An operand, and what the expression sees it as.
pub struct Input<'a> {
    pub value: Value<'a>,
    pub seen: Word,
}

pub enum Value<'a> {
    Core(&'a Core),
    Number(Scalar),
}

impl<'a> Input<'a> {
    pub fn number(v: f64) -> Input<'a> {
        Input {
            value: Value::Number(Scalar::Float(v)),
            seen: Word::Float,
        }
    }
    /// A tensor, seen as what its elements are.
    pub fn core(c: &'a Core) -> Result<Input<'a>> {
        Ok(Input {
            value: Value::Core(c),
            seen: word(c.dtype)?,
        })
    }
}

/// The tensors and numbers among `args[range]`, as operands of arithmetic in `compute`.
pub fn inputs(args: &Args, range: std::ops::Range<usize>, compute: DType) -> Result<SmallVec<[Input<'_>; 4]>> {
    let seen = word(compute)?;
    let mut out = SmallVec::new();
    for a in args.items.iter().take(range.end).skip(range.start) {
        out.push(match a {
            Arg::Tensor(c) => Input {
                value: Value::Core(c),
                seen,
            },
            Arg::Scalar(s) => Input {
                value: Value::Number(*s),
                seen,
            },
            _ => continue,
        });
    }
    Ok(out)
}

/// Carries out an elementwise op over the tensors and numbers among `args[range]`.
pub fn map(args: &Args, out: &Core, compute: DType, m: &Map, range: std::ops::Range<usize>) -> Result<()> {
    let (text, seen) = match compute {
        DType::F32 => (m.float, Word::Float),
        DType::I64 => (m.int, Word::Int),
        DType::Bool => (m.bools, Word::Bool),
        other => return not_for(other),
    };
    let made = if m.truth { Word::Bool } else { seen };
    let has_long = has_long(args, &range);
    if text.is_empty() || made == Word::Int && !m.long && (has_long || out.dtype == DType::I64) {
        return not_for(match compute {
            DType::I64 if !has_long && out.dtype != DType::I64 => DType::I32,
            other => other,
        });
    }
    elementwise(out, made, text, &inputs(args, range, compute)?)
}

fn has_long(args: &Args, range: &std::ops::Range<usize>) -> bool {
    let items = args.items.iter().take(range.end).skip(range.start);
    items
        .into_iter()
        .any(|a| matches!(a, Arg::Tensor(c) if c.dtype == DType::I64))
}

const NUMBERS: usize = 6;
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// A number as the word that shaders read.
pub(super) fn number_word(s: Scalar, seen: Word) -> Result<u32> {
    Ok(match seen {
        Word::Float => (s.to_f64() as f32).to_bits(),
        Word::Bool => (s.to_f64() != 0.0) as u32,
        Word::Int => match i32::try_from(s.to_i64()) {
            Ok(v) => v as u32,
            Err(_) => {
                return Error::runtime(format!(
                    "{} does not fit in the 32 bits that integers have on device 'gpu'",
                    s.to_i64()
                ));
            }
        },
    })
}

/// `out[..] = text(a, b, …)`, operands broadcast to the output's shape; the value is `made`.
pub fn elementwise(out: &Core, made: Word, text: &str, operands: &[Input]) -> Result<()> {
    let n = out.numel();
    if n == 0 {
        return Ok(());
    }
    let gpu = wgpu::get()?;
    let mut buffers = Buffers::default();
    let to = buffers.add(out, true)?;
    let mut layouts: SmallVec<[Layout; 5]> = smallvec::smallvec![out.layout];
    let mut numbers: SmallVec<[u32; NUMBERS]> = SmallVec::new();
    // Per operand: (binding, element type) or the place of its number.
    let mut places: SmallVec<[(Option<(usize, Word)>, usize); 4]> = SmallVec::new();
    for o in operands {
        let scalar = match o.value {
            Value::Number(s) => Some(s),
            // A 0-d tensor of the CPU goes along as its number.
            Value::Core(c) if c.device() == Device::Cpu && c.numel() == 1 => Some(cpu::item(c)),
            Value::Core(_) => None,
        };
        match (scalar, &o.value) {
            (None, Value::Core(c)) => {
                let binding = buffers.add(c, false)?;
                layouts.push(c.layout.broadcast_to(out.shape()));
                places.push((Some((binding, word(c.dtype)?)), layouts.len() - 1));
            }
            (s, _) => {
                numbers.push(number_word(s.unwrap_or(Scalar::Int(0)), o.seen)?);
                places.push((None, numbers.len() - 1));
            }
        }
    }
    assert!(
        numbers.len() <= NUMBERS && layouts.len() <= 5,
        "an elementwise op of too many operands"
    );
    let walk = Walk::new(&layouts)?;
    let kept = word(out.dtype)?;
    let mut key = format!("map {} {}{} {text}", buffers.pattern(), kept.letter(), made.letter());
    for (o, (place, k)) in operands.iter().zip(&places) {
        match place {
            Some((b, w)) => key.push_str(&format!(" {b}{}{}", w.letter(), o.seen.letter())),
            None => key.push_str(&format!(" #{k}{}", o.seen.letter())),
        }
    }
    key.push_str(if walk.rank == 0 { " dense" } else { " strided" });
    let mut params: SmallVec<[u32; 64]> = smallvec::smallvec![0; 64];
    params[0] = size32(n)?;
    params[1] = walk.rank as u32;
    params[2..2 + numbers.len()].copy_from_slice(&numbers);
    walk.write(&mut params, 8);
    let source = || {
        let mut body = header(&buffers, false);
        body.push_str(EACH);
        body.push_str(&walk.text(8, layouts.len(), "i"));
        for (name, (o, (place, k))) in NAMES.iter().zip(operands.iter().zip(&places)) {
            let value = match place {
                Some((b, w)) => w.load(&format!("m{b}[o{k}]"), o.seen),
                None => o.seen.load(&format!("word({}u)", k + 2), o.seen),
            };
            body.push_str(&format!("let {name} = {value};\n"));
        }
        let value = made.convert(&format!("({text})"), kept);
        body.push_str(&format!("m{to}[o0] = {};\n}}\n", kept.store(&value)));
        linked(body)
    };
    run(&Job {
        op: "elementwise",
        key: &key,
        source: &source,
        bindings: &buffers.list,
        params: &params,
        groups: groups(gpu, n, GROUP)?,
        faults: false,
    })
}

/// How several layouts of one shape are walked together: dims of size 1 left out, neighbours that continue each other in
/// all of them made one. Rank 0: element i of each lies at its offset plus i.
pub(super) struct Walk {
    pub rank: usize,
    pub shape: [u32; 8],
    pub offsets: SmallVec<[u32; 5]>,
    pub strides: SmallVec<[[u32; 8]; 5]>,
}

impl Walk {
    pub fn new(layouts: &[Layout]) -> Result<Walk> {
        let mut walk = Walk::strided(layouts)?;
        if walk.rank == 1 && walk.strides.iter().all(|s| s[0] == 1) {
            walk.rank = 0;
        }
        Ok(walk)
    }

    /// As [`Walk::new`], without the case of rank 0 for more than one element.
    pub fn strided(layouts: &[Layout]) -> Result<Walk> {
        let mut shape = [0usize; 8];
        let mut strides: SmallVec<[[usize; 8]; 5]> = smallvec::smallvec![[0; 8]; layouts.len()];
        let mut rank = 0;
        for d in 0..layouts[0].rank() {
            let n = layouts[0].shape[d];
            if n == 1 {
                continue;
            }
            let stride = |l: &Layout| l.strides()[d] as usize;
            let joins = rank > 0 && layouts.iter().zip(&strides).all(|(l, s)| s[rank - 1] == stride(l) * n);
            if joins {
                shape[rank - 1] *= n;
            } else {
                shape[rank] = n;
                rank += 1;
            }
            for (l, s) in layouts.iter().zip(&mut strides) {
                s[rank - 1] = stride(l);
            }
        }
        let mut walk = Walk {
            rank,
            shape: [1; 8],
            offsets: SmallVec::new(),
            strides: SmallVec::new(),
        };
        for (to, n) in walk.shape.iter_mut().zip(&shape[..rank]) {
            *to = size32(*n)?;
        }
        for (l, s) in layouts.iter().zip(&strides) {
            walk.offsets.push(size32(l.offset)?);
            let mut row = [0; 8];
            for (to, v) in row.iter_mut().zip(&s[..rank]) {
                *to = size32(*v)?;
            }
            walk.strides.push(row);
        }
        Ok(walk)
    }

    /// The walk's numbers from word `at` on: shape, then offset and strides of each layout.
    pub fn write(&self, params: &mut [u32], at: usize) {
        params[at..at + 8].copy_from_slice(&self.shape);
        for (k, (o, s)) in self.offsets.iter().zip(&self.strides).enumerate() {
            let from = at + 8 + 9 * k;
            params[from] = *o;
            params[from + 1..from + 9].copy_from_slice(s);
        }
    }

    /// WGSL that sets `o0`, `o1`, … to the places of element `index`; `word(1)` is the rank.
    pub fn text(&self, at: usize, count: usize, index: &str) -> String {
        let mut out = String::new();
        let offset = |k: usize| at + 8 + 9 * k;
        if self.rank == 0 {
            for k in 0..count {
                out.push_str(&format!("let o{k} = word({}u) + {index};\n", offset(k)));
            }
            return out;
        }
        for k in 0..count {
            out.push_str(&format!("var o{k} = word({}u);\n", offset(k)));
        }
        out.push_str(&format!(
            "var rest = {index};\nfor (var d = word(1u); d > 0u; d--) {{\nlet n = word({}u + d);\nlet up = rest / n;\n\
             let x = rest - up * n;\nrest = up;\n",
            at - 1
        ));
        for k in 0..count {
            out.push_str(&format!("o{k} += x * word({}u + d);\n", offset(k)));
        }
        out.push_str("}\n");
        out
    }
}
