//! The one error type. Kinds are few; each becomes one Python exception class (`rust/python/src/error.rs`).

use std::fmt;

/// What went wrong, by the class of exception a PyTorch user expects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// Shapes, dtypes or states that do not fit (`RuntimeError`).
    Runtime,
    /// An index or a dim out of range (`IndexError`).
    Index,
    /// A wrong value of the right type (`ValueError`).
    Value,
    /// A wrong type (`TypeError`).
    Type,
    /// Not supported by the op for this dtype or device (`NotImplementedError`).
    NotImplemented,
    /// Memory that cannot be had (`RuntimeError`, as PyTorch's CPU allocator).
    OutOfMemory,
    /// `torch.linalg.LinAlgError`.
    Linalg,
    /// What a compiled function must not do (`firesteel.graph.RecordingError`).
    Recording,
}

/// An error with its message; dispatch puts the op's name in front.
#[derive(Clone, Debug)]
pub struct Error {
    pub kind: ErrorKind,
    pub message: String,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error {
            kind,
            message: message.into(),
        }
    }
    pub fn runtime<T>(message: impl Into<String>) -> Result<T> {
        Err(Error::new(ErrorKind::Runtime, message))
    }
    pub fn index<T>(message: impl Into<String>) -> Result<T> {
        Err(Error::new(ErrorKind::Index, message))
    }
    pub fn value<T>(message: impl Into<String>) -> Result<T> {
        Err(Error::new(ErrorKind::Value, message))
    }
    pub fn typed<T>(message: impl Into<String>) -> Result<T> {
        Err(Error::new(ErrorKind::Type, message))
    }
    pub fn unsupported<T>(message: impl Into<String>) -> Result<T> {
        Err(Error::new(ErrorKind::NotImplemented, message))
    }
    pub fn recording<T>(message: impl Into<String>) -> Result<T> {
        Err(Error::new(ErrorKind::Recording, message))
    }
    /// The same error, told as part of `op`.
    #[cold]
    pub fn within(mut self, op: &str) -> Error {
        // The functions that a program calls stand above those with an underscore, and are named like them.
        let op = op.trim_start_matches('_');
        if !self.message.trim_start_matches(['\'', '_']).starts_with(op) {
            self.message = format!("{op}(): {}", self.message);
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Returns a runtime error with a formatted message unless a condition holds.
#[macro_export]
macro_rules! ensure {
    ($cond:expr, $($arg:tt)+) => {
        if !$cond {
            return $crate::error::Error::runtime(format!($($arg)+));
        }
    };
}
