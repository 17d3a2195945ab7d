//! Tells the compiler what kind of Python the binding is built for.

fn main() {
    // Sets `Py_GIL_DISABLED` and its kin, so that a free-threaded build is refused.
    pyo3_build_config::use_pyo3_cfgs();
}
