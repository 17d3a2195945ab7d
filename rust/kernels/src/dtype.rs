//! The thirteen element types and the Rust types that hold them.

pub use half::{bf16, f16};

/// Type of a tensor's elements.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum DType {
    Bool,
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F16,
    BF16,
    F32,
    F64,
}

impl DType {
    /// Every dtype, in the order of the enum.
    pub const ALL: [DType; 13] = [
        DType::Bool,
        DType::U8,
        DType::U16,
        DType::U32,
        DType::U64,
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::F16,
        DType::BF16,
        DType::F32,
        DType::F64,
    ];

    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            DType::Bool | DType::U8 | DType::I8 => 1,
            DType::U16 | DType::I16 | DType::F16 | DType::BF16 => 2,
            DType::U32 | DType::I32 | DType::F32 => 4,
            DType::U64 | DType::I64 | DType::F64 => 8,
        }
    }

    /// PyTorch's name, without the `torch.`.
    pub const fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::U8 => "uint8",
            DType::U16 => "uint16",
            DType::U32 => "uint32",
            DType::U64 => "uint64",
            DType::I8 => "int8",
            DType::I16 => "int16",
            DType::I32 => "int32",
            DType::I64 => "int64",
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            DType::F32 => "float32",
            DType::F64 => "float64",
        }
    }

    pub const fn is_float(self) -> bool {
        matches!(self, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
    }

    /// Integers, `bool` not among them.
    pub const fn is_int(self) -> bool {
        !self.is_float() && !matches!(self, DType::Bool)
    }

    pub const fn is_signed(self) -> bool {
        self.is_float() || matches!(self, DType::I8 | DType::I16 | DType::I32 | DType::I64)
    }

    /// The dtype that kernels are compiled for and that stands in for this one: values are converted on load and store.
    pub const fn compute(self) -> DType {
        match self {
            DType::Bool => DType::Bool,
            DType::F64 => DType::F64,
            DType::F16 | DType::BF16 | DType::F32 => DType::F32,
            _ => DType::I64,
        }
    }
}

/// A Rust type that stores the elements of one [`DType`]. `bool` is stored as one byte, 0 or 1.
pub trait Element: Copy + Send + Sync + PartialEq + Default + 'static {
    const DTYPE: DType;
    /// Conversions by PyTorch's rules: floats to integers truncate, anything non-zero to bool is true.
    fn to_f64(self) -> f64;
    fn from_f64(v: f64) -> Self;
    fn to_i64(self) -> i64;
    fn from_i64(v: i64) -> Self;
}

macro_rules! int_element {
    ($($t:ty => $d:ident),*) => {$(
        impl Element for $t {
            const DTYPE: DType = DType::$d;
            #[inline(always)]
            fn to_f64(self) -> f64 { self as f64 }
            #[inline(always)]
            fn from_f64(v: f64) -> Self { (v as i64) as $t }
            #[inline(always)]
            fn to_i64(self) -> i64 { self as i64 }
            #[inline(always)]
            fn from_i64(v: i64) -> Self { v as $t }
        }
    )*};
}
int_element!(u8 => U8, u16 => U16, u32 => U32, i8 => I8, i16 => I16, i32 => I32, i64 => I64);

impl Element for u64 {
    const DTYPE: DType = DType::U64;
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self as f64
    }
    #[inline(always)]
    fn from_f64(v: f64) -> Self {
        if v < 0.0 { (v as i64) as u64 } else { v as u64 }
    }
    #[inline(always)]
    fn to_i64(self) -> i64 {
        self as i64
    }
    #[inline(always)]
    fn from_i64(v: i64) -> Self {
        v as u64
    }
}

macro_rules! float_element {
    ($($t:ty => $d:ident, $to:expr, $from:expr);*) => {$(
        impl Element for $t {
            const DTYPE: DType = DType::$d;
            #[inline(always)]
            fn to_f64(self) -> f64 { ($to)(self) }
            #[inline(always)]
            fn from_f64(v: f64) -> Self { ($from)(v) }
            #[inline(always)]
            fn to_i64(self) -> i64 { ($to)(self) as i64 }
            #[inline(always)]
            fn from_i64(v: i64) -> Self { ($from)(v as f64) }
        }
    )*};
}
float_element!(
    f32 => F32, |v| v as f64, |v| v as f32;
    f64 => F64, |v| v, |v| v;
    f16 => F16, f16::to_f64, f16::from_f64;
    bf16 => BF16, bf16::to_f64, |v: f64| bf16::from_f32(v as f32)
);

/// One byte that holds a truth value; any non-zero byte reads as true, so foreign memory cannot make it undefined.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(transparent)]
pub struct Bool(pub u8);

impl Bool {
    #[inline(always)]
    pub fn get(self) -> bool {
        self.0 != 0
    }
}

impl From<bool> for Bool {
    #[inline(always)]
    fn from(v: bool) -> Self {
        Bool(v as u8)
    }
}

impl Element for Bool {
    const DTYPE: DType = DType::Bool;
    #[inline(always)]
    fn to_f64(self) -> f64 {
        (self.0 != 0) as u8 as f64
    }
    #[inline(always)]
    fn from_f64(v: f64) -> Self {
        Bool((v != 0.0) as u8)
    }
    #[inline(always)]
    fn to_i64(self) -> i64 {
        (self.0 != 0) as i64
    }
    #[inline(always)]
    fn from_i64(v: i64) -> Self {
        Bool((v != 0) as u8)
    }
}

/// A number given by a program: the immediate operand of a kernel, and the value of a Python number.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Scalar {
    Bool(bool),
    Int(i64),
    Float(f64),
}

impl Scalar {
    pub fn to_f64(self) -> f64 {
        match self {
            Scalar::Bool(v) => v as u8 as f64,
            Scalar::Int(v) => v as f64,
            Scalar::Float(v) => v,
        }
    }

    pub fn to_i64(self) -> i64 {
        match self {
            Scalar::Bool(v) => v as i64,
            Scalar::Int(v) => v,
            Scalar::Float(v) => v as i64,
        }
    }

    /// The value as an element of type `T`, by the rules of [`Element`].
    pub fn to<T: Element>(self) -> T {
        match self {
            Scalar::Float(v) => T::from_f64(v),
            _ => T::from_i64(self.to_i64()),
        }
    }
}

/// Runs `$body` with the type alias `$t` bound to the storage type of a [`DType`].
#[macro_export]
macro_rules! with_element {
    ($dtype:expr, $t:ident => $body:expr) => {{
        use $crate::dtype::DType as D;
        match $dtype {
            D::Bool => {
                type $t = $crate::dtype::Bool;
                $body
            }
            D::U8 => {
                type $t = u8;
                $body
            }
            D::U16 => {
                type $t = u16;
                $body
            }
            D::U32 => {
                type $t = u32;
                $body
            }
            D::U64 => {
                type $t = u64;
                $body
            }
            D::I8 => {
                type $t = i8;
                $body
            }
            D::I16 => {
                type $t = i16;
                $body
            }
            D::I32 => {
                type $t = i32;
                $body
            }
            D::I64 => {
                type $t = i64;
                $body
            }
            D::F16 => {
                type $t = $crate::dtype::f16;
                $body
            }
            D::BF16 => {
                type $t = $crate::dtype::bf16;
                $body
            }
            D::F32 => {
                type $t = f32;
                $body
            }
            D::F64 => {
                type $t = f64;
                $body
            }
        }
    }};
}

/// As [`with_element!`](crate::with_element), of the types that numbers are computed in.
macro_rules! with_computed {
    ($dtype:expr, $t:ident => $body:expr) => {{
        use $crate::dtype::DType as D;
        match $dtype {
            D::F32 => {
                type $t = f32;
                $body
            }
            D::F64 => {
                type $t = f64;
                $body
            }
            D::I64 => {
                type $t = i64;
                $body
            }
            D::Bool => {
                type $t = $crate::dtype::Bool;
                $body
            }
            other => panic!("no kernel is compiled for {}", other.name()),
        }
    }};
}
pub(crate) use with_computed;
