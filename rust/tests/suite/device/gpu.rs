//! Shaders and the functions they name.

use firesteel::internals::shader::linked;

#[test]
fn functions_bring_those_they_call() {
    let text = linked("fn main() { x = fs_tanh(1.0); }".into());
    assert!(text.contains("fn fs_tanh(") && text.contains("fn fs_expm1("));
    assert!(!text.contains("fn fs_erf("));
    assert_eq!(text.matches("fn fs_expm1(").count(), 1);
}
