"""The examples run, shortened: what they reach at full length belongs to `make mnist`."""

import importlib.util
from pathlib import Path

import firesteel as fs
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def mnist():
    spec = importlib.util.spec_from_file_location("mnist_example", EXAMPLES / "mnist.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "arguments,least",
    [
        (["--limit", "1280"], 0.7),
        (["--limit", "640", "--optimizer", "adadelta"], 0.3),
        (["--limit", "2560", "--model", "mlp"], 0.7),
    ],
    ids=lambda a: " ".join(a) if isinstance(a, list) else "",
)
def test_mnist(mnist, capsys, arguments, least):
    accuracy = mnist.main([*arguments, "--epochs", "1", "--threads", str(fs.get_num_threads())])
    printed = capsys.readouterr().out
    assert "images per second" in printed and "test accuracy" in printed
    assert accuracy > least, printed
