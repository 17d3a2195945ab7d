//! Normalisation layers, forward and backward: over rows (layer norm, RMS norm) and over channels (batch norm, group
//! norm). `f32` and `f64`.
//!
//! Statistics come from two passes (mean, then squared distances from it), over memory that lies in the cache. Outputs do not overlap inputs.

mod channel;
mod row;
mod sweep;

pub use channel::{
    Affine, batch_norm_affine, batch_norm_backward, batch_norm_eval, batch_norm_train, group_norm_backward,
    group_norm_forward, running_stats,
};
pub use row::{layer_norm_backward, layer_norm_forward, rms_norm_backward, rms_norm_forward};

macro_rules! by_float {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            crate::dtype::DType::F32 => {
                type $t = f32;
                $body
            }
            crate::dtype::DType::F64 => {
                type $t = f64;
                $body
            }
            other => panic!("a norm of {}", other.name()),
        }
    };
}
use by_float;

#[cfg(test)]
mod tests;
