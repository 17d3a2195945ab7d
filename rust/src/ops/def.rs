//! The op record: all that is said about an op, once.
//!
//! A record is made by [`op`] from a signature in Python's notation and finished by its builder methods:
//!
//! ```ignore
//! op("cumsum(input, dim: int, *, dtype: dtype? = None)", "Sums along a dim, element after element. …")
//!     .compute(infer_cumsum, cpu_cumsum)
//!     .inplace()
//! ```
//!
//! Types of parameters: `Tensor` (the default), `Operand` (a tensor or a number), `Tensor?`, `Tensor[]`, `Tensor?[]`,
//! `Scalar`, `int`, `int[]`, `int[2]` (one int stands for two), `float`, `float[]`, `bool`, `str`, `dtype`, `device`,
//! `Generator`, each also with `?`. The name `input` is `self` for methods. Results follow as `-> (values, indices)`;
//! none given means one tensor, `-> []` a list.

use crate::args::Args;
use crate::core::Core;
use crate::device::Device;
use crate::dtype::DType;
use crate::error::Result;
use crate::layout::{Dims, Layout};
use smallvec::SmallVec;

/// Type of a parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ty {
    Tensor,
    /// A tensor, or a number that stays one (weak dtype).
    Operand,
    Tensors,
    OptTensors,
    Scalar,
    Int,
    /// Ints; `fixed` > 0: one int stands for that many.
    Ints {
        fixed: u8,
    },
    Float,
    Floats,
    Bool,
    Str,
    Dtype,
    Device,
    Generator,
}

/// Default value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Default {
    /// Must be given.
    Required,
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(&'static str),
    /// `[]`
    EmptyList,
}

#[derive(Clone, Debug)]
pub struct Param {
    pub name: &'static str,
    pub ty: Ty,
    pub optional: bool,
    pub default: Default,
    pub keyword_only: bool,
}

/// Shape and dtype of one output, and the dtype that it is computed in.
#[derive(Clone, Debug)]
pub struct Meta {
    pub shape: Dims,
    pub dtype: DType,
    /// What operands are converted to before the kernel's arithmetic.
    pub compute: DType,
    /// Strides to allocate, where they are not row-major.
    pub layout: Option<Box<Layout>>,
}

impl std::fmt::Debug for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{:?}", self.shape, self.strides())
    }
}

impl Meta {
    pub fn new(shape: Dims, dtype: DType) -> Meta {
        Meta {
            shape,
            dtype,
            compute: dtype,
            layout: None,
        }
    }
}

pub type Metas = SmallVec<[Meta; 1]>;
pub type Infer = fn(&Args) -> Result<Metas>;
/// Dtype of the result and of the arithmetic, where that needs no promotion: what small calls take instead of `Infer`.
pub type Quick = fn(&Args) -> Option<(DType, DType)>;
/// A simple case on the CPU carried out whole, without the steps that others need: one result, with the bits of the kernel.
/// `None`: not such a case (or a wrong one), which goes the long way.
pub type Whole = fn(&Args) -> Option<Core>;
/// Writes the outputs; `Call` says how.
pub type Kernel = fn(&Call) -> Result<()>;

/// What a kernel is given.
pub struct Call<'a> {
    pub args: &'a Args,
    pub outs: &'a [Core],
    /// Of the first output.
    pub compute: DType,
    /// Nobody else has seen the outputs: an error may leave them half written.
    pub fresh: bool,
}

/// What a view rule does.
#[derive(Clone, Copy)]
pub enum View {
    /// Changes the first argument's layout into the view's, in its place.
    One(fn(&Args, &mut Layout) -> Result<()>),
    Many(fn(&Args) -> Result<SmallVec<[Layout; 1]>>),
}

/// How an op is carried out.
pub enum Kind {
    /// Shapes from `infer`, values from kernels that write into given outputs.
    Compute { infer: Infer, cpu: Kernel },
    /// The first argument's memory under other layouts; no kernel.
    View { rule: View },
    /// A view where the strides allow it (`Some`), else a copy (`reshape`).
    MaybeView {
        layout: fn(&Args) -> Result<Option<Layout>>,
        infer: Infer,
        cpu: Kernel,
    },
    /// The result's size is known only after running.
    DataShape { run: fn(&Args) -> Result<Vec<Core>> },
    /// Made of other ops, in Python (`autograd/`), from `register`.
    Composite,
}

/// Everything about one op (one signature of it).
pub struct Op {
    /// Public name.
    pub name: &'static str,
    /// Unique name: `max`, `max.dim`.
    pub key: &'static str,
    pub doc: &'static str,
    pub params: Vec<Param>,
    pub outputs: Vec<&'static str>,
    /// Outputs that a program gets; the others are only saved for the derivative.
    pub visible: usize,
    /// The result is a list of tensors.
    pub list: bool,
    pub kind: Kind,
    /// Queues the op's shaders; `None`: the gpu has its composite, if there is one.
    pub gpu: Option<Kernel>,
    /// The arguments may be on several devices; the first one's, or the parameter `device`, is the result's.
    pub across_devices: bool,
    /// Output index → may carry a gradient (floats only; indices never do).
    pub nondiff_outputs: u32,
    /// There is `x.name_()` (and a function `name_`).
    pub inplace: bool,
    /// `name(…, out=…)` is taken.
    pub out: bool,
    /// There is no method.
    pub function_only: bool,
    /// There is no function.
    pub method_only: bool,
    /// Each output element depends on the input elements at its own place: output may be the input's memory.
    pub elementwise: bool,
    /// For elementwise ops: dtypes of the common case.
    pub quick: Option<Quick>,
    pub whole: Option<Whole>,
    /// The kernel takes its first input's memory as output, in any layout, and writes only what changes.
    pub updates_self: bool,
    /// Arguments that the op writes, as a bit mask.
    pub mutates: u32,
    /// The boolean parameter that must be true for that.
    pub mutates_if: Option<usize>,
    pub random: bool,
    /// Position in the table.
    pub index: u32,
    /// Parameters that positional arguments may fill.
    pub places: usize,
    /// The parameter called `device`.
    pub device: Option<usize>,
    pub inplace_name: &'static str,
}

impl Op {
    /// Index of the first parameter of this name.
    pub fn param(&self, name: &str) -> Option<usize> {
        self.params.iter().position(|p| p.name == name)
    }

    /// Arguments that a call writes, as a bit mask; `is_true` says whether a parameter is.
    #[inline]
    pub fn written(&self, is_true: impl Fn(usize) -> bool) -> u32 {
        if self.mutates != 0 && self.mutates_if.is_none_or(is_true) {
            self.mutates
        } else {
            0
        }
    }

    /// Whether a device carries the op out itself: on the gpu an op may have to be taken apart (its composite).
    pub fn runs_on(&self, device: Device) -> bool {
        match self.kind {
            Kind::View { .. } | Kind::Composite => true,
            _ => device != Device::Gpu || self.gpu.is_some(),
        }
    }

    pub fn is_view(&self) -> bool {
        matches!(self.kind, Kind::View { .. })
    }

    /// The signature in Python's notation (names and literal defaults only).
    pub fn text_signature(&self) -> String {
        let mut out = String::from("(");
        let mut star = false;
        for (i, p) in self.params.iter().enumerate() {
            if i > 0 {
                out.push_str(", ");
            }
            if p.keyword_only && !star {
                out.push_str("*, ");
                star = true;
            }
            out.push_str(p.name);
            match &p.default {
                Default::Required => {}
                d => {
                    out.push('=');
                    out.push_str(&d.python());
                }
            }
        }
        out.push(')');
        out
    }
}

impl Default {
    /// As a Python literal.
    pub fn python(&self) -> String {
        match self {
            Default::Required => String::new(),
            Default::None => "None".into(),
            Default::Bool(v) => if *v { "True" } else { "False" }.into(),
            Default::Int(v) => v.to_string(),
            Default::Float(v) => format!("{v:?}"),
            Default::Str(s) => format!("'{s}'"),
            Default::EmptyList => "()".into(),
        }
    }
}

/// A record under construction.
pub struct Builder {
    op: Op,
}

/// Starts a record from its signature and docstring. A signature's name may carry an overload: `max.dim(…)`.
pub fn op(signature: &'static str, doc: &'static str) -> Builder {
    let (head, rest) = signature.split_once('(').expect("a signature has parameters");
    let close = rest.find(')').expect("a signature is closed");
    let params = parse_params(&rest[..close]);
    let tail = rest[close + 1..].trim();
    let results = tail.strip_prefix("->").map(str::trim).unwrap_or("");
    let list = results == "[]";
    let outputs: Vec<&'static str> = if results.is_empty() || list {
        vec!["result"]
    } else {
        results.trim_matches(['(', ')']).split(',').map(str::trim).collect()
    };
    let name = head.split('.').next().unwrap_or(head);
    Builder {
        op: Op {
            name,
            key: head,
            doc,
            params,
            visible: outputs.len(),
            outputs,
            list,
            kind: Kind::Composite,
            gpu: None,
            across_devices: false,
            nondiff_outputs: 0,
            inplace: false,
            out: true,
            function_only: false,
            method_only: false,
            elementwise: false,
            updates_self: false,
            quick: None,
            whole: None,
            mutates: 0,
            mutates_if: None,
            random: false,
            index: 0,
            places: 0,
            device: None,
            inplace_name: "",
        },
    }
}

fn parse_params(text: &'static str) -> Vec<Param> {
    let mut params = Vec::new();
    let mut keyword_only = false;
    // Commas inside brackets do not occur in signatures.
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        if part == "*" {
            keyword_only = true;
            continue;
        }
        let (decl, default) = match part.split_once('=') {
            Some((d, v)) => (d.trim(), Some(v.trim())),
            None => (part, None),
        };
        let (name, ty) = match decl.split_once(':') {
            Some((n, t)) => (n.trim(), t.trim()),
            None => (decl, "Tensor"),
        };
        let (ty, optional) = match ty.strip_suffix('?') {
            Some(t) => (t, true),
            None => (ty, false),
        };
        let ty = match ty {
            "Tensor" => Ty::Tensor,
            "Operand" => Ty::Operand,
            "Tensor[]" => Ty::Tensors,
            "Tensor?[]" => Ty::OptTensors,
            "Scalar" => Ty::Scalar,
            "int" => Ty::Int,
            "int[]" => Ty::Ints { fixed: 0 },
            "int[1]" => Ty::Ints { fixed: 1 },
            "int[2]" => Ty::Ints { fixed: 2 },
            "int[3]" => Ty::Ints { fixed: 3 },
            "float" => Ty::Float,
            "float[]" => Ty::Floats,
            "bool" => Ty::Bool,
            "str" => Ty::Str,
            "dtype" => Ty::Dtype,
            "device" => Ty::Device,
            "Generator" => Ty::Generator,
            other => panic!("unknown type {other} in a signature"),
        };
        let default = match default {
            None => Default::Required,
            Some("None") => Default::None,
            Some("True") => Default::Bool(true),
            Some("False") => Default::Bool(false),
            Some("[]") => Default::EmptyList,
            Some(v) if v.starts_with('\'') => Default::Str(v.trim_matches('\'')),
            Some(v) => match v.parse::<i64>() {
                Ok(i) => Default::Int(i),
                Err(_) => Default::Float(v.parse().expect("a literal default")),
            },
        };
        params.push(Param {
            name,
            ty,
            optional,
            default,
            keyword_only,
        });
    }
    params
}

impl Builder {
    /// Kernels behind a shape rule.
    pub fn compute(mut self, infer: Infer, cpu: Kernel) -> Builder {
        self.op.kind = Kind::Compute { infer, cpu };
        self
    }
    pub fn view(mut self, rule: fn(&Args, &mut Layout) -> Result<()>) -> Builder {
        self.op.kind = Kind::View { rule: View::One(rule) };
        self.op.out = false;
        self
    }
    /// A list of views.
    pub fn views(mut self, rule: fn(&Args) -> Result<SmallVec<[Layout; 1]>>) -> Builder {
        self.op.kind = Kind::View { rule: View::Many(rule) };
        self.op.out = false;
        self
    }
    pub fn maybe_view(mut self, layout: fn(&Args) -> Result<Option<Layout>>, infer: Infer, cpu: Kernel) -> Builder {
        self.op.kind = Kind::MaybeView { layout, infer, cpu };
        self.op.out = false;
        self
    }
    /// The op on the gpu (`device::gpu` has what shaders are made with).
    pub fn gpu(mut self, kernel: Kernel) -> Builder {
        self.op.gpu = Some(kernel);
        self
    }
    pub fn across_devices(mut self) -> Builder {
        self.op.across_devices = true;
        self
    }
    /// Only `x.name_()` is public: what the op makes does not depend on `x`'s values.
    pub fn inplace_only(mut self) -> Builder {
        self.op.elementwise = true;
        self.op.inplace = true;
        self.op.function_only = true;
        self.op.method_only = true;
        self.op.out = false;
        self
    }
    pub fn no_out(mut self) -> Builder {
        self.op.out = false;
        self
    }
    pub fn data_shape(mut self, run: fn(&Args) -> Result<Vec<Core>>) -> Builder {
        self.op.kind = Kind::DataShape { run };
        self.op.out = false;
        self
    }
    /// Implemented in Python from other ops.
    pub fn composite(mut self) -> Builder {
        self.op.kind = Kind::Composite;
        self.op.out = false;
        self
    }
    pub fn elementwise(mut self) -> Builder {
        self.op.elementwise = true;
        self.op.inplace = true;
        self
    }
    pub fn quick(mut self, rule: Quick) -> Builder {
        self.op.quick = Some(rule);
        self
    }
    pub fn whole(mut self, whole: Whole) -> Builder {
        self.op.whole = Some(whole);
        self
    }
    pub fn inplace(mut self) -> Builder {
        self.op.inplace = true;
        self
    }
    /// In place, and the kernel itself leaves alone what does not change.
    pub fn updates_self(mut self) -> Builder {
        self.op.inplace = true;
        self.op.updates_self = true;
        self
    }
    pub fn no_inplace(mut self) -> Builder {
        self.op.inplace = false;
        self
    }
    pub fn function_only(mut self) -> Builder {
        self.op.function_only = true;
        self
    }
    pub fn method_only(mut self) -> Builder {
        self.op.method_only = true;
        self
    }
    /// Output `i` never carries a gradient.
    pub fn nondiff_output(mut self, i: usize) -> Builder {
        self.op.nondiff_outputs |= 1 << i;
        self
    }
    pub fn mutates(mut self, name: &str) -> Builder {
        let i = self.op.param(name).expect("a parameter that the op mutates");
        self.op.mutates |= 1 << i;
        self.op.out = false;
        self
    }
    /// Nothing is written unless this boolean parameter is true.
    pub fn mutates_if(mut self, name: &str) -> Builder {
        self.op.mutates_if = self.op.param(name);
        self
    }
    /// Only the first output is returned; the others are there for the derivative.
    pub fn hide_others(mut self) -> Builder {
        self.op.visible = 1;
        self.op.out = false;
        for i in 1..self.op.outputs.len() {
            self.op.nondiff_outputs |= 1 << i;
        }
        self
    }
    pub fn random(mut self) -> Builder {
        self.op.random = true;
        self
    }
    pub fn finish(mut self, index: usize) -> &'static Op {
        self.op.index = index as u32;
        self.op.device = self.op.param("device");
        self.op.places = self.op.params.iter().filter(|p| !p.keyword_only).count();
        if self.op.inplace {
            self.op.inplace_name = Box::leak(format!("{}_", self.op.name).into_boxed_str());
        }
        Box::leak(Box::new(self.op))
    }
}
