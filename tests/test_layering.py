"""The house keeps its order: dependencies point one way, `unsafe` and PyO3 stay in their rooms, imports stay small."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUST = sorted((ROOT / "rust").rglob("*.rs"))
PYTHON = sorted((ROOT / "python" / "firesteel").rglob("*.py"))

# ---- Rust ------------------------------------------------------------------------------------------------------------

# Modules of the crate `firesteel`; each may use those before it. `device` is the enum that names devices, `device::wgpu`
# the gpu as a machine; what carries ops out (`device::cpu`, `device::gpu`) lends ops their views of memory and their
# shaders, and dispatch reaches kernels through the record.
MODULES = (
    "error",
    "dtype",
    "layout",
    "device",
    "device::wgpu",
    "shared",
    "buffer",
    "core",
    "generator",
    "args",
    "device::cpu",
    "device::gpu",
    "ops",
    "dispatch",
    "graph",
    "internals",
)
UNSAFE = (
    "rust/kernels/",
    "rust/src/buffer.rs",
    "rust/src/device/",
    "rust/src/shared.rs",
    "rust/tests/",
    "rust/python/src/bind.rs",
    "rust/python/src/call.rs",
    "rust/python/src/cell.rs",
    "rust/python/src/convert.rs",
    "rust/python/src/entries.rs",
    "rust/python/src/foreign.rs",
    "rust/python/src/make.rs",
    "rust/python/src/tensor/mod.rs",
)
NOT_CODE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|r(\#*)".*?"\1|b?"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])'""",
    re.DOTALL,
)


def code(file):
    """A Rust file without its comments and literals."""
    return NOT_CODE.sub(" ", file.read_text())


def name(file):
    return str(file.relative_to(ROOT))


def used_modules(text):
    """Names `m` and `m::n` for each `crate::m::n` in a text, groups in braces taken apart."""
    for use in re.finditer(r"\bcrate::(\{[^;]*\}|\w+(?:::\w+)?)", text):
        parts = re.split(r",(?![^{]*\})", use[1][1:-1]) if use[1].startswith("{") else [use[1]]
        for part in parts:
            path = re.findall(r"\w+", part)
            if path:
                yield path[0], "::".join(path[:2])


def module_of(file):
    path = file.relative_to(ROOT / "rust" / "src").with_suffix("").parts
    parts = [p for p in path if p != "mod"]
    # The longest name that is placed: files of `device/gpu/` are part of `device::gpu`.
    names = ("::".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((m for m in names if m in MODULES), parts[0])


@pytest.mark.parametrize("file", [f for f in RUST if "rust/src/" in name(f) and f.name != "lib.rs"], ids=name)
def test_rust_modules_use_only_those_below(file):
    own = MODULES.index(module_of(file))
    for first, path in used_modules(code(file)):
        used = path if path in MODULES else first
        if used in MODULES:
            assert MODULES.index(used) <= own, f"{module_of(file)} must not use {used}"
    lib = (ROOT / "rust" / "src" / "lib.rs").read_text()
    for declared in re.findall(r"^pub mod (\w+);", lib, re.MULTILINE):
        assert declared in MODULES, f"place the new module {declared} in MODULES"


def test_used_modules_are_seen():
    text = "use crate::core::Core; use crate::{args::Args, ops, device::cpu::{a, b}}; crate::dispatch::call(x)"
    assert {p for _, p in used_modules(text)} == {"core::Core", "args::Args", "ops", "device::cpu", "dispatch::call"}


def test_kernels_know_neither_tensors_nor_python():
    for file in RUST:
        if "rust/kernels/" in name(file):
            assert not re.search(r"\b(firesteel|pyo3)(::|\b)", code(file)), name(file)


def test_only_the_binding_names_pyo3():
    for file in RUST:
        if "rust/python/" not in name(file):
            assert not re.search(r"\bpyo3\b", code(file)), name(file)
    for manifest in [ROOT / "Cargo.toml", *ROOT.glob("rust/*/Cargo.toml"), ROOT / "benches" / "Cargo.toml"]:
        if manifest.parent.name != "python":
            assert "pyo3" not in manifest.read_text(), name(manifest)


def test_unsafe_stays_in_its_rooms():
    for file in RUST:
        if re.search(r"\bunsafe\b", code(file)):
            assert name(file).startswith(UNSAFE), f"{name(file)} must not use `unsafe`"
    for crate in ("src", "python/src"):
        assert "#![deny(unsafe_code)]" in (ROOT / "rust" / crate / "lib.rs").read_text()


# ---- Python ----------------------------------------------------------------------------------------------------------

# Each module or package of firesteel, in layers; one may import from the layers before its own (and from itself).
LAYERS = (
    {"_C"},
    {"_size", "_formats", "_storage"},
    {"autograd", "_format", "_rebuild"},
    {"tensor"},
    {"ops"},
    {
        "",
        "backends",
        "cuda",
        "gpu",
        "linalg",
        "masked",
        "random",
        "signal",
        "special",
        "testing",
        "types",
    },  # "": the package
    {"nn", "version"},
    {"optim", "utils", "serialization"},
    {"safetensors"},
    {"vision", "graph"},
    {"_devices", "_stubs"},
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}


def imported(file):
    """The modules that a file imports from firesteel, as tuples of names below it."""
    path = file.relative_to(ROOT / "python").with_suffix("").parts
    package = path[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            found = [(*base, alias.name) for alias in node.names]
        else:
            continue
        for whole in found:
            if whole[0] == "firesteel":
                yield whole[1:], node.lineno


def part_of(names):
    """The part that a dotted name below `firesteel` belongs to: `fs.nn.Linear` to nn, `fs.Tensor` to the package."""
    return names[0] if names and names[0] in LEVEL else ""


@pytest.mark.parametrize("file", PYTHON, ids=name)
def test_python_imports_point_one_way(file):
    inside = file.relative_to(ROOT / "python" / "firesteel").with_suffix("").parts
    own = "" if inside == ("__init__",) else inside[0]
    assert own in LEVEL, f"place the new part {own} in LAYERS"
    for names, line in imported(file):
        used = part_of(names)
        if used == own:
            continue
        if own == "" and used == "nn":
            pytest.fail("the package loads nn at first use")
        assert LEVEL[used] < LEVEL[own], f"{name(file)}:{line}: {own or 'firesteel'} imports {'.'.join(names)}"


def test_import_loads_little():
    program = "import sys, firesteel; print(*sorted(m for m in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert "firesteel._C" in loaded
    late = (
        "numpy",
        "firesteel.nn",
        "firesteel.optim",
        "firesteel.utils",
        "firesteel.vision",
        "firesteel.graph",
        "zipfile",
    )
    assert [m for m in loaded if m.startswith(late)] == []
