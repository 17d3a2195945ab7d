"""Every example that a reader may copy runs: of the op table, of each Python module, of README and docs/.

doctest's own finder does not see the native functions (they are no functions of a module to it), so the examples of
ops are taken from the table itself. Each docstring, and each block of a document, is one case.
"""

import contextlib
import doctest
import importlib
import io
import pkgutil
import re
import textwrap
import traceback
from pathlib import Path

import firesteel as fs
import pytest

ROOT = Path(__file__).parents[1]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
NAMES = {"firesteel": fs, "fs": fs}
PARSER = doctest.DocTestParser()


def run(case):
    """Runs a doctest; fails with doctest's own report."""
    report = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False)
    with contextlib.redirect_stdout(io.StringIO()):
        runner.run(case, out=report.write)
    if runner.failures:
        pytest.fail(report.getvalue(), pytrace=False)


# ---- the op table ----------------------------------------------------------------------------------------------------

TABLE = fs._C._op_table()
RECORDS = {op["key"]: op["doc"] for op in TABLE}


@pytest.mark.parametrize("key", [key for key, doc in RECORDS.items() if ">>>" in doc])
def test_examples_of_ops(key):
    run(PARSER.get_doctest(RECORDS[key], dict(NAMES), key, None, 0))


@pytest.mark.parametrize("op", [op for op in TABLE if not op["name"].startswith("_")], ids=lambda op: op["key"])
def test_ops_are_described(op):
    first = op["doc"].split("\n\n")[0].strip()
    assert first and not first.startswith(">>>"), "a record's docstring opens with a sentence"
    for place, there in [(fs._C, op["function"]), (fs.Tensor, op["method"])]:
        if there and op["params"] and op["params"][0]["type"] == "Tensor":
            assert getattr(place, op["name"]).__doc__


# ---- the modules -----------------------------------------------------------------------------------------------------


def modules():
    """Each module of the package by name; the traceback instead of one that cannot be imported."""
    names = ["firesteel", *(m.name for m in pkgutil.walk_packages(fs.__path__, "firesteel.", onerror=lambda _: None))]
    for name in names:
        try:
            yield name, importlib.import_module(name)
        except Exception:
            yield name, traceback.format_exc()


MODULES = dict(modules())


def docstrings():
    """The doctests of each module, without the methods that the table has brought already."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    ops = {f"firesteel.Tensor.{op['name']}{end}" for op in TABLE for end in ("", "_")}
    for name, module in MODULES.items():
        if isinstance(module, str) or module is fs._C:
            continue
        for case in finder.find(module, name, extraglobs=NAMES):
            if case.examples and case.name not in ops:
                yield case


@pytest.mark.parametrize("name", MODULES)
def test_modules_load_and_say_what_they_are(name):
    module = MODULES[name]
    assert not isinstance(module, str), module
    assert module is fs._C or module.__doc__


@pytest.mark.parametrize("case", list(docstrings()), ids=lambda case: case.name)
def test_examples_of_modules(case):
    run(case)


# ---- README and docs/ ------------------------------------------------------------------------------------------------

BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def blocks():
    for file in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = file.read_text()
        for block in BLOCK.finditer(text):
            line = text[: block.start()].count("\n") + 1
            yield pytest.param(file, line, textwrap.dedent(block[2]), id=f"{file.name}:{line}")


@pytest.mark.parametrize(("file", "line", "text"), list(blocks()))
def test_examples_of_documents(file, line, text, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    if ">>>" in text:
        run(PARSER.get_doctest(text, dict(NAMES), file.name, str(file), line))
        return
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile("\n" * line + text, str(file), "exec"), {"__name__": "__main__", **NAMES})


def test_documents_have_examples():
    files = {case.values[0].name for case in blocks()}
    assert {"README.md", "adding-an-op.md", "differences.md"} <= files
