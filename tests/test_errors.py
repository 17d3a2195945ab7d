"""Bad input: the class of exception that PyTorch raises, a message that says what was given, and nothing changed.

The classes in the table are those of PyTorch 2.13 for the same expressions. What every op does with arguments that make no
sense at all is tried from the op table.
"""

import builtins
import gzip
import re
import warnings

import firesteel as fs
import firesteel.nn.functional as F
import numpy as np
import pytest
from firesteel import _C
from samples import SAMPLES, Built
from test_ops import KNOWN, TABLE

#: What is tried, the class of its exception, the start of what the message says (after the op's name).
TABLE_OF_REFUSALS = r"""
fs.ones(2, 3) + fs.ones(4) -> RuntimeError: The size of tensor a (3) must match the size of tensor b (4) at
fs.mul(fs.ones(2, 3), fs.ones(2)) -> RuntimeError: The size of tensor a (3) must match the size of tensor b (2) at
fs.where(fs.ones(2, dtype=fs.bool), fs.ones(3), fs.ones(3)) -> RuntimeError: The size of tensor a (2) must match the
fs.lerp(fs.ones(2), fs.ones(3), 0.5) -> RuntimeError: The size of tensor a (2) must match the size of tensor b (3) at
fs.addcmul(fs.ones(2), fs.ones(3), fs.ones(3)) -> RuntimeError: The size of tensor a (2) must match the size of tensor
fs.ones(2, 3) @ fs.ones(2, 3) -> RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)
fs.ones(()) @ fs.ones(3) -> RuntimeError: both arguments to matmul need to be at least 1D, but they are 0D and
fs.ones(2, 2, 3) @ fs.ones(3, 3, 2) -> RuntimeError: The size of tensor a (2) must match the size of tensor b (3) at
fs.mm(fs.ones(2, 3), fs.ones(2, 3)) -> RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)
fs.mm(fs.ones(2), fs.ones(2, 3)) -> RuntimeError: self must be a matrix
fs.bmm(fs.ones(2, 2, 3), fs.ones(3, 3, 2)) -> RuntimeError: Expected size for first two dimensions of batch2 tensor to
fs.mv(fs.ones(2, 3), fs.ones(2)) -> RuntimeError: size mismatch, got input (2), mat (2x3), vec (2)
fs.dot(fs.ones(2), fs.ones(3)) -> RuntimeError: inconsistent tensor size, expected tensor [2] and src [3] to have the
fs.dot(fs.ones(2, 2), fs.ones(2, 2)) -> RuntimeError: 1D tensors expected, but got 2D and 2D tensors
F.linear(fs.ones(2, 3), fs.ones(4, 5)) -> RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x3 and 5x4)
F.linear(fs.ones(2, 3), fs.ones(4, 3), fs.ones(5)) -> RuntimeError: The expanded size of the tensor (4) must match the
F.conv2d(fs.ones(1, 3, 4, 4), fs.ones(2, 4, 3, 3)) -> RuntimeError: Given groups=1, weight of size [2, 4, 3, 3],
F.conv2d(fs.ones(1, 1, 2, 2), fs.ones(1, 1, 3, 3)) -> RuntimeError: Calculated padded input size per channel: (2 x 2).
F.conv2d(fs.ones(3, 3), fs.ones(2, 3, 3, 3)) -> RuntimeError: Expected 3D (unbatched) or 4D (batched) input to conv2d,
F.conv2d(fs.ones(1, 3, 4, 4), fs.ones(2, 1, 3, 3), groups=2) -> RuntimeError: Given groups=2, weight of size [2, 1, 3,
F.conv2d(fs.ones(1, 3, 4, 4), fs.ones(2, 1, 3, 3), groups=0) -> RuntimeError: non-positive groups is not supported
F.conv2d(fs.ones(1, 3, 4, 4), fs.ones(2, 3, 3, 3), stride=0) -> RuntimeError: non-positive stride is not supported
F.conv2d(fs.ones(1, 3, 4, 4), fs.ones(2, 3, 3, 3), padding=-1) -> RuntimeError: negative padding is not supported
F.conv2d(fs.ones(1, 3, 4, 4), fs.ones(2, 3, 3, 3), dilation=0) -> RuntimeError: dilation should be greater than zero,
F.conv2d(fs.ones(1, 3, 4, 4), fs.ones(2, 3, 3, 3), fs.ones(3)) -> RuntimeError: Given weight of size [2, 3, 3, 3],
F.conv2d(fs.ones(1, 3, 4, 4), fs.ones(2, 3, 3, 3), padding='full') -> RuntimeError: Invalid padding string: 'full'
F.conv2d(fs.ones(1, 3, 4, 4), fs.ones(2, 3, 3, 3), stride=[1, 2, 3]) -> RuntimeError: expected stride to be a single
F.max_pool2d(fs.ones(1, 1, 2, 2), 3) -> RuntimeError: Given input size: (1x2x2). Calculated output size: (1x0x0).
F.max_pool2d(fs.ones(1, 1, 4, 4), 2, padding=2) -> RuntimeError: pad should be at most half of effective kernel size,
F.max_pool2d(fs.ones(4), 2) -> RuntimeError: max_pool2d: Expected 3D or 4D (batch mode) tensor with optional 0 dim
F.max_pool2d(fs.ones(1, 1, 4, 4), 0) -> RuntimeError: stride should not be zero
F.avg_pool2d(fs.ones(1, 1, 4, 4), 2, stride=0) -> RuntimeError: stride should not be zero
F.avg_pool2d(fs.ones(1, 1, 4, 4), 2, divisor_override=0) -> RuntimeError: divisor must be not zero
F.adaptive_avg_pool2d(fs.ones(1, 1, 4, 4), -1) -> RuntimeError: adaptive_avg_pool2d: elements of output_size must be
F.layer_norm(fs.ones(2, 3), (4,)) -> RuntimeError: Given normalized_shape=[4], expected input with shape [*, 4], but
F.layer_norm(fs.ones(2, 3), (3,), fs.ones(4)) -> RuntimeError: Expected weight to be of same shape as
F.batch_norm(fs.ones(2, 3), fs.zeros(4), fs.ones(4)) -> RuntimeError: running_mean should contain 3 elements not 4
F.batch_norm(fs.ones(1, 3), None, None, training=True) -> ValueError: Expected more than 1 value per channel when
F.group_norm(fs.ones(2, 3), 2) -> RuntimeError: Expected number of channels in input to be divisible by num_groups,
F.cross_entropy(fs.ones(2, 3), fs.zeros(3, dtype=fs.int64)) -> ValueError: Expected input batch_size (2) to match
F.cross_entropy(fs.ones(2, 3), fs.tensor([0, 3])) -> IndexError: Target 3 is out of bounds.
F.cross_entropy(fs.ones(2, 3), fs.tensor([0, -1])) -> IndexError: Target -1 is out of bounds.
F.cross_entropy(fs.ones(2, 3), fs.tensor([0, 1]), weight=fs.ones(4)) -> RuntimeError: weight tensor should be defined
F.nll_loss(fs.ones(2, 3), fs.zeros(2)) -> RuntimeError: expected target dtype to be Long or Byte, but got Float
F.nll_loss(fs.ones(2, 3), fs.tensor([0, 1]), reduction='all') -> ValueError: all is not a valid value for reduction
F.embedding(fs.tensor([0, 5]), fs.ones(3, 2)) -> IndexError: index out of range in self: index 5 is out of bounds for
F.embedding(fs.tensor([0.5]), fs.ones(3, 2)) -> RuntimeError: Expected tensor for argument #1 'indices' to have one of
F.dropout(fs.ones(3), 1.5) -> ValueError: dropout probability has to be between 0 and 1, but got 1.5
F.one_hot(fs.tensor([0, 5]), 3) -> RuntimeError: Class values must be smaller than num_classes.
F.one_hot(fs.tensor([-1]), 3) -> RuntimeError: Class values must be non-negative.
fs.cat([fs.ones(2, 3), fs.ones(2, 4)]) -> RuntimeError: Sizes of tensors must match except in dimension 0. Expected
fs.cat([]) -> ValueError: torch.cat(): expected a non-empty list of Tensors
fs.cat([fs.ones(()), fs.ones(())]) -> RuntimeError: zero-dimensional tensor (at position 0) cannot be concatenated
fs.cat([1, 2]) -> TypeError: argument 'tensors' (position 1) must be tuple of Tensors
fs.stack([fs.ones(2), fs.ones(3)]) -> RuntimeError: stack expects each tensor to be equal size, but got [2] at entry 0
fs.stack([]) -> RuntimeError: stack expects a non-empty TensorList
fs.ones(6).view(4) -> RuntimeError: shape '[4]' is invalid for input of size 6
fs.ones(6).view(-1, -1) -> RuntimeError: only one dimension can be inferred
fs.ones(2, 3).t().view(6) -> RuntimeError: view size is not compatible with input tensor's size and stride (at
fs.ones(0).view(-1, 0) -> RuntimeError: cannot reshape tensor of 0 elements into shape [-1, 0] because the
fs.ones(6).reshape(4) -> RuntimeError: shape '[4]' is invalid for input of size 6
fs.ones(6).reshape(-2, 3) -> RuntimeError: invalid shape dimension -2
fs.ones(2, 3).expand(4, 3) -> RuntimeError: The expanded size of the tensor [4, 3] must match the existing size
fs.ones(2, 3).expand(3) -> RuntimeError: expand: the number of sizes provided (1) must be greater or equal to
fs.ones(2, 3).permute(0) -> RuntimeError: permute(sparse_coo): number of dimensions in the tensor input does
fs.ones(2, 3).permute(0, 0) -> RuntimeError: duplicate dims are not allowed.
fs.ones(2, 3).permute(0, 2) -> IndexError: Dimension out of range (expected to be in range of [-2, 1], but got 2)
fs.ones(2, 3, 4).t() -> RuntimeError: t() expects a tensor with <= 2 dimensions, but self is 3D
fs.ones(2, 3).transpose(0, 2) -> IndexError: Dimension out of range (expected to be in range of [-2, 1], but got 2)
fs.ones(2, 3).squeeze(2) -> IndexError: Dimension out of range (expected to be in range of [-2, 1], but got 2)
fs.ones(2, 3).unsqueeze(4) -> IndexError: Dimension out of range (expected to be in range of [-3, 2], but got 4)
fs.ones(3).narrow(0, 1, 3) -> RuntimeError: start (1) + length (3) exceeds dimension size (3).
fs.ones(3).narrow(0, 1, -1) -> RuntimeError: length must be non-negative.
fs.ones(3).select(0, 3) -> IndexError: index 3 is out of bounds for dimension 0 with size 3
fs.ones(()).select(0, 0) -> IndexError: select() cannot be applied to a 0-dim tensor.
fs.ones(3).diagonal() -> IndexError: Dimension out of range (expected to be in range of [-1, 0], but got 1)
fs.ones(3, 3).diagonal(0, 0, 0) -> RuntimeError: diagonal dimensions cannot be identical 0, 0
fs.ones(3).unfold(0, 4, 1) -> RuntimeError: maximum size for tensor at dimension 0 is 3 but size is 4
fs.ones(3).unfold(0, 2, 0) -> RuntimeError: step is 0 but must be > 0
fs.ones(3).as_strided((4,), (1,)) -> RuntimeError: setStorage: sizes [4], strides [1], storage offset 0 are out of
fs.ones(3).as_strided((2,), (-1,)) -> RuntimeError: as_strided: Negative strides are not supported at the moment, got
fs.ones(3).split([1, 1]) -> RuntimeError: split_with_sizes expects split_sizes to sum exactly to 3 (input
fs.ones(3).split(-1) -> RuntimeError: split expects split_size be non-negative, but got split_size=-1
fs.ones(()).split(1) -> RuntimeError: split expects at least a 1-dimensional tensor
fs.ones(()).unbind() -> IndexError: Dimension specified as 0 but tensor has no dimensions
fs.ones(3).chunk(0) -> RuntimeError: chunk expects `chunks` to be greater than 0, got: 0
fs.ones(2, 3).flatten(1, 0) -> RuntimeError: flatten() has invalid args: start_dim cannot come after end_dim
fs.ones(2, 3).sum(2) -> IndexError: Dimension out of range (expected to be in range of [-2, 1], but got 2)
fs.ones(2, 3).sum(-3) -> IndexError: Dimension out of range (expected to be in range of [-2, 1], but got
fs.ones(2, 3).sum((0, 0)) -> RuntimeError: dim 0 appears multiple times in the list of dims
fs.ones(()).sum(1) -> IndexError: Dimension out of range (expected to be in range of [-1, 0], but got 1)
fs.ones(2, 3).max(2) -> IndexError: Dimension out of range (expected to be in range of [-2, 1], but got 2)
fs.ones(0).max() -> RuntimeError: Expected reduction dim to be specified for input.numel() == 0.
fs.ones(2, 0).max(1) -> IndexError: Expected reduction dim 1 to have non-zero size.
fs.ones(0).argmax() -> IndexError: Expected reduction dim to be specified for input.numel() == 0.
fs.ones(0).amax() -> RuntimeError: Expected reduction dim to be specified for input.numel() == 0.
fs.tensor([1, 2]).mean() -> RuntimeError: could not infer output dtype. Input dtype must be either a floating
fs.tensor([1, 2]).var() -> RuntimeError: std and var only support floating point and complex dtypes
fs.ones(2, 3).softmax(2) -> IndexError: Dimension out of range (expected to be in range of [-2, 1], but got 2)
fs.tensor([1, 2]).softmax(0) -> NotImplementedError: not implemented for 'Long'
fs.ones(2).cumsum(1) -> IndexError: Dimension out of range (expected to be in range of [-1, 0], but got 1)
fs.ones(2).sort(1) -> IndexError: Dimension out of range (expected to be in range of [-1, 0], but got 1)
fs.ones(2).topk(3) -> RuntimeError: selected index k out of range
fs.ones(2).kthvalue(0) -> RuntimeError: selected number k out of range for dimension 0
fs.ones(2, 0).median(1) -> IndexError: Expected reduction dim 1 to have non-zero size.
fs.ones(2).gather(0, fs.tensor([2])) -> RuntimeError: index 2 is out of bounds for dimension 0 with size 2
fs.ones(2).gather(0, fs.tensor([0.5])) -> RuntimeError: Expected dtype int32/int64 for index
fs.ones(2, 2).gather(0, fs.tensor([0])) -> RuntimeError: Index tensor must have the same number of dimensions as input
fs.ones(2, 2).gather(0, fs.zeros(1, 3, dtype=fs.int64)) -> RuntimeError: Size does not match at dimension 1 expected
fs.ones(2).scatter(0, fs.tensor([2]), fs.ones(1)) -> RuntimeError: index 2 is out of bounds for dimension 0 with size
fs.ones(2).scatter(0, fs.tensor([0]), fs.ones(1, dtype=fs.float64)) -> RuntimeError: Expected self.dtype to be equal
fs.ones(2).scatter_reduce(0, fs.tensor([0]), fs.ones(1), 'median') -> RuntimeError: reduce argument must be either
fs.ones(2).index_select(0, fs.tensor([2])) -> IndexError: index out of range in self: index 2 is out of bounds for
fs.ones(2).index_select(0, fs.tensor([[0]])) -> IndexError: Index is supposed to be a vector
fs.ones(2, 1).index_add(0, fs.tensor([2]), fs.ones(1, 1)) -> RuntimeError: index 2 is out of bounds for dimension 0
fs.ones(2).index_add(0, fs.tensor([1]), fs.ones(2)) -> RuntimeError: Number of indices (1) should be equal to
fs.ones(2).index_copy(0, fs.tensor([2]), fs.ones(1)) -> IndexError: index 2 is out of bounds for dimension 0 with size
fs.ones(2).index_fill(0, fs.tensor([2]), 1.0) -> IndexError: index 2 is out of bounds for dimension 0 with size 2
fs.ones(2).take(fs.tensor([2])) -> IndexError: out of range: tried to access index 2 on a tensor of 2 elements.
fs.ones(2).masked_fill(fs.tensor([1, 0]), 1.0) -> RuntimeError: masked_fill_ only supports boolean masks
fs.ones(2).masked_select(fs.tensor([1, 0])) -> RuntimeError: masked_select: expected BoolTensor for mask
fs.ones(3).masked_scatter(fs.tensor([True, True, True]), fs.ones(1)) -> RuntimeError: Number of elements of source <
fs.ones(3).tril() -> RuntimeError: tril: input tensor must have at least 2 dimensions
fs.ones(3).flip(1) -> IndexError: Dimension out of range (expected to be in range of [-1, 0], but got 1)
fs.ones(3).flip((0, 0)) -> RuntimeError: dim 0 appears multiple times in the list of dims
fs.bincount(fs.tensor([-1])) -> RuntimeError: bincount only supports 1-d non-negative integral inputs.
fs.searchsorted(fs.ones(2, 3), fs.ones(3, 3)) -> RuntimeError: boundaries tensor should be 1 dimension or the first
fs.ones(2, 2) @ fs.ones(2, 2, dtype=fs.float64) -> RuntimeError: expected m1 and m2 to have the same dtype, but got:
F.linear(fs.ones(2, 3), fs.ones(4, 3, dtype=fs.float64)) -> RuntimeError: expected m1 and m2 to have the same dtype,
F.conv2d(fs.ones(1, 1, 3, 3), fs.ones(1, 1, 2, 2, dtype=fs.float64)) -> RuntimeError: Input type (float) and weight
-fs.tensor([True]) -> RuntimeError: bool tensor is not supported
fs.tensor([True]) - fs.tensor([True]) -> RuntimeError: Subtraction, the `-` operator, with a bool tensor is not
~fs.ones(2) -> TypeError: ~ (operator.invert) is only implemented on integer and Boolean-type tensors
fs.ones(2) & fs.ones(2) -> NotImplementedError: not implemented for 'Float'
fs.ones(2) << 1 -> NotImplementedError: not implemented for 'Float'
fs.tensor([1]) // 0 -> RuntimeError: ZeroDivisionError
fs.tensor([1]) % fs.tensor([0]) -> RuntimeError: ZeroDivisionError
fs.tensor([2]) ** -1 -> RuntimeError: Integers to negative integer powers are not allowed.
fs.lerp(fs.ones(2), fs.ones(2, dtype=fs.float64), 0.5) -> RuntimeError: expected dtype float32 for `end` but got dtype
fs.rand(2, dtype=fs.int64) -> NotImplementedError: not implemented for 'Long'
fs.add(fs.tensor([1]), 1, alpha=0.5) -> RuntimeError: For integral input tensors, argument alpha must not be a
fs.ones(2).clamp() -> RuntimeError: At least one of 'min' or 'max' must not be None
fs.tensor([1], requires_grad=True) -> RuntimeError: only Tensors of floating point and complex dtype can require
fs.ones(-1) -> RuntimeError: Trying to create tensor with negative dimension -1: [-1]
fs.empty(2**62) -> RuntimeError: Storage size calculation overflowed with sizes=[4611686018427387904]
fs.empty(2**31, 2**31, 2**31) -> RuntimeError: Storage size calculation overflowed with sizes=[2147483648,
fs.tensor([[1, 2], [3]]) -> ValueError: expected sequence of length 2 at dim 1 (got 1)
fs.tensor(None) -> RuntimeError: Could not infer dtype of NoneType
fs.tensor(object()) -> RuntimeError: Could not infer dtype of object
fs.arange(0, 5, 0) -> RuntimeError: step must be nonzero
fs.arange(0, 5, -1) -> RuntimeError: upper bound and lower bound inconsistent with step sign
fs.arange(0, float('inf')) -> RuntimeError: unsupported range: 0 -> inf
fs.linspace(0, 1, -1) -> RuntimeError: number of steps must be non-negative
fs.eye(-1) -> RuntimeError: n and m must be greater or equal to 0, got -1 and -1
fs.randint(3, 3, (2,)) -> RuntimeError: random_ expects 'from' to be less than 'to', but got from=3 >= to=3
fs.randperm(-1) -> RuntimeError: n must be non-negative
fs.empty(3).bernoulli_(1.5) -> RuntimeError: bernoulli_ expects p to be in [0, 1], but got p=1.5
fs.empty(3).uniform_(1, 0) -> RuntimeError: uniform_ expects to return a [from, to) range, but found from=1 > to=0
fs.empty(3).normal_(0, -1) -> RuntimeError: normal expects std >= 0.0, but found std -1
fs.empty(3).exponential_(0) -> RuntimeError: exponential_ expects lambda > 0.0, but found lambda=0
fs.ones(2, device='cake') -> RuntimeError: Expected one of cpu, cuda, gpu, meta, mps, xpu, xla, vulkan device
fs.ones(2, dtype='float') -> TypeError: argument 'dtype' (position 3) must be torch.dtype, not str
fs.ones(2).sum(dimm=0) -> TypeError: sum() got an unexpected keyword argument 'dimm'
fs.cat() -> TypeError: cat() missing 1 required positional argument: "tensors"
fs.ones(2).exp(1) -> TypeError: exp() takes 1 positional argument but 2 were given
fs.exp('a') -> TypeError: argument 'input' (position 1) must be Tensor, not str
fs.ones(2).sum('a') -> TypeError: argument 'dim' (position 1) must be tuple of ints, not str
fs.ones(2).sum(0.5) -> TypeError: argument 'dim' (position 1) must be tuple of ints, not float
fs.ones(2).view(1.5) -> TypeError: view() received an invalid combination of arguments - got (float), but expected one of:
fs.ones(2) + 'a' -> TypeError: unsupported operand type(s) for +: 'firesteel.Tensor' and 'str'
fs.ones(2) + None -> TypeError: unsupported operand type(s) for +: 'firesteel.Tensor' and 'NoneType'
fs.ones(2).item() -> RuntimeError: a Tensor with 2 elements cannot be converted to Scalar
bool(fs.ones(2)) -> RuntimeError: Boolean value of Tensor with more than one value is ambiguous
bool(fs.ones(0)) -> RuntimeError: Boolean value of Tensor with no values is ambiguous
range(fs.tensor(1.5)) -> TypeError: only integer tensors of a single element can be converted to an index
fs.ones(2, requires_grad=True).numpy() -> RuntimeError: Can't call numpy() on Tensor that requires grad. Use
fs.ones(2).backward() -> RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn
F.gelu(fs.ones(2), approximate='some') -> RuntimeError: approximate argument must be either none or tanh, got 'some'
fs.div(fs.ones(2), 2, rounding_mode='up') -> RuntimeError: div expected rounding_mode to be one of None, 'trunc', or
fs.add(fs.ones(2), 1.5, out=fs.ones(2, dtype=fs.int64)) -> RuntimeError: result type Float can't be cast to the
fs.add(fs.ones(2, requires_grad=True), 1.5, out=fs.ones(2)) -> RuntimeError: functions with out=... arguments don't
fs.ones(3).copy_(fs.ones(2)) -> RuntimeError: The size of tensor a [3] must match the size of tensor b [2]: cannot
fs.ones(3).fill_(fs.ones(2)) -> RuntimeError: fill_ only supports 0-dimension value tensor but got tensor with 1
fs.from_numpy(np.arange(3)[::-1]) -> ValueError: At least one stride in the given numpy array is negative, and tensors
fs.from_numpy([1, 2]) -> TypeError: expected np.ndarray (got list)
setattr(fs.ones(2), 'shape', (1, 2)) -> AttributeError: attribute 'shape' of 'firesteel.Tensor' objects is not
setattr(fs.ones(2), 'data', 5) -> TypeError: Variable data has to be a tensor, but got <class 'int'>
fs.manual_seed('a') -> ValueError: invalid literal for int() with base 10: 'a'
fs.set_num_threads(0) -> RuntimeError: set_num_threads expects a positive integer, got 0
"""
CASES = [line.partition(" -> ") for line in TABLE_OF_REFUSALS.strip().splitlines()]


@pytest.mark.parametrize("expression,refusal", [(c[0], c[2]) for c in CASES], ids=[c[0] for c in CASES])
def test_class_and_message(expression, refusal):
    kind, _, text = refusal.partition(": ")
    with pytest.raises(getattr(builtins, kind), match=re.escape(text)) as caught:
        eval(expression, {"fs": fs, "F": F, "np": np})
    assert "internal error" not in str(caught.value)


@pytest.mark.parametrize(
    "run", [lambda: fs.tensor(["a"]), lambda: fs.tensor([2**70]), lambda: float(fs.ones(2)), lambda: int(fs.ones(2))]
)
def test_value_errors_of_conversions(run):
    with pytest.raises(ValueError):
        run()


def test_sizes_are_in_the_message():
    """Both shapes, so that the mistake can be found without a debugger."""
    for run in (lambda: fs.ones(2, 3) + fs.ones(4), lambda: fs.where(fs.ones(2, 3) > 0, fs.ones(4), 1.0)):
        with pytest.raises(RuntimeError, match=r"\[2, 3\] and \[4\]"):
            run()


def test_more_memory_than_there_is():
    with pytest.raises(fs.OutOfMemoryError, match="140737488355328 bytes") as caught:
        fs.ones(2**45)
    assert isinstance(caught.value, RuntimeError)
    assert fs.ones(2).sum().item() == 2


# ---- nothing changed ---------------------------------------------------------------------------------------------------

WRITES = [
    lambda x: x.add_(fs.ones(4)),
    lambda x: x.add_(fs.ones(5, 2, 3)),
    lambda x: x.copy_(fs.ones(7)),
    lambda x: x.index_add_(0, fs.tensor([0, 5]), fs.ones(2, 3)),
    lambda x: x.index_copy_(0, fs.tensor([0, 5]), fs.ones(2, 3)),
    lambda x: x.index_fill_(0, fs.tensor([0, 5]), 9.0),
    lambda x: x.index_put_((fs.tensor([0, 5]),), fs.tensor(9.0)),
    lambda x: x.scatter_(1, fs.tensor([[0, 9], [0, 0]]), fs.ones(2, 2)),
    lambda x: x.scatter_add_(1, fs.tensor([[0, 9], [0, 0]]), fs.ones(2, 2)),
    lambda x: x.masked_scatter_(fs.ones(2, 3) > 0, fs.ones(2)),
    lambda x: x.masked_fill_(fs.ones(4) > 0, 9.0),
    lambda x: x.clamp_(),
    lambda x: x.uniform_(2, 1),
    lambda x: x.bernoulli_(7.0),
    lambda x: x.bitwise_and_(1),
    lambda x: x.unsqueeze_(9),
    lambda x: x.transpose_(0, 9),
    lambda x: fs.mm(x, x, out=x),
    lambda x: x.__setitem__((0, 9), 1.0),
    lambda x: x.__setitem__(fs.tensor([0, 9]), 1.0),
    lambda x: x.requires_grad_("yes"),
    lambda x: setattr(x, "data", None),
    lambda x: setattr(x, "grad", fs.ones(9)),
]


@pytest.mark.parametrize("number", range(len(WRITES)))
def test_nothing_changes(number):
    x = fs.arange(6.0).view(2, 3)
    with pytest.raises((RuntimeError, IndexError, TypeError, ValueError)) as caught:
        WRITES[number](x)
    assert "internal error" not in str(caught.value)
    assert x.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] and x._version == 0 and x.stride() == (3, 1)
    assert not x.requires_grad and x.grad is None


def test_batch_norm_moves_its_statistics_only_after_success():
    mean, var = fs.zeros(3), fs.ones(3)
    with pytest.raises(RuntimeError):
        F.batch_norm(fs.ones(2, 3), mean, var, fs.ones(4), training=True)
    with pytest.raises(RuntimeError):
        F.batch_norm(fs.ones(2, 4), mean, var, training=True)
    assert mean.tolist() == [0.0] * 3 and var.tolist() == [1.0] * 3


# ---- NaN ---------------------------------------------------------------------------------------------------------------


def test_nan_goes_through():
    nan = fs.tensor([1.0, float("nan"), 0.0])
    assert nan.argmax().item() == 1 and nan.argmin().item() == 1 and nan.max(0).indices.item() == 1
    assert nan.max().isnan() and nan.sum().isnan() and nan.softmax(0).isnan().all() and nan.clamp(0, 1)[1].isnan()
    assert nan.sort().values[2].isnan() and nan.sort().indices.tolist() == [2, 0, 1]
    assert nan.topk(1).indices.tolist() == [1]
    assert fs.relu(nan)[1].isnan() and nan.nan_to_num(7.0).tolist() == [1.0, 7.0, 0.0]
    assert nan.unique().numel() == 3 and nan.nanmedian().item() == 0 and nan.median().isnan()
    assert nan.to(fs.bool).tolist() == [True, True, False]
    nan.to(fs.int64), nan.to(fs.uint8)  # any number, but no crash
    assert not fs.isfinite(nan)[1] and nan.count_nonzero().item() == 2
    loss = F.cross_entropy(fs.tensor([[float("nan"), 1.0]]), fs.tensor([0]))
    assert loss.isnan()


# ---- empty tensors -----------------------------------------------------------------------------------------------------


def test_empty_tensors():
    none = fs.ones(0)
    assert none.sum().item() == 0 and none.prod().item() == 1 and none.mean().isnan() and none.std().isnan()
    assert none.any().item() is False and none.all().item() is True
    assert (fs.ones(0, 3) @ fs.ones(3, 2)).shape == (0, 2) and (fs.ones(2, 0) @ fs.ones(0, 3)).tolist() == [
        [0.0] * 3
    ] * 2
    assert none.sort().values.numel() == 0 and none.cumsum(0).numel() == 0 and fs.cat([none, none]).numel() == 0
    assert F.linear(fs.ones(0, 3), fs.ones(2, 3)).shape == (0, 2)
    assert F.cross_entropy(fs.ones(0, 3), fs.zeros(0, dtype=fs.int64)).isnan()
    assert F.conv2d(fs.ones(0, 1, 4, 4), fs.ones(2, 1, 3, 3)).shape == (0, 2, 2, 2)
    assert fs.ones(2, 0).softmax(1).shape == (2, 0) and repr(none) == "tensor([])"


# ---- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", ["magic", "header", "body", "gzip", "empty"])
def test_truncated_idx_file(tmp_path, cut):
    """A data file that was cut short names itself in the error."""
    from firesteel.vision.datasets import idx

    read = next(f for n, f in vars(idx).items() if n.startswith("read") and callable(f))
    whole = bytes([0, 0, 8, 1, 0, 0, 0, 4, 1, 2, 3, 4])
    path = tmp_path / ("labels.gz" if cut == "gzip" else "labels")
    data = {
        "magic": b"\1\2" + whole[2:],
        "header": whole[:6],
        "body": whole[:-1],
        "empty": b"",
        "gzip": gzip.compress(whole)[:-9],
    }
    path.write_bytes(data[cut])
    with pytest.raises((ValueError, RuntimeError, OSError, EOFError), match="labels"):
        read(path)
    path.write_bytes(gzip.compress(whole) if cut == "gzip" else whole)
    assert np.asarray(read(path)).tolist() == [1, 2, 3, 4]


# ---- arguments that make no sense --------------------------------------------------------------------------------------

HUGE = 2**62
NUMBERS = (None, True, 0, -1, 7, HUGE, -HUGE, 2**63 - 1, -(2**63), 2**70, 0.5, float("nan"), float("inf"), 1e300)
LISTS = ([], [0], [-1], [7], [HUGE], [0, 0], [0, 1, 2], [1] * 12, [HUGE, HUGE], ["x"], [None], [0.5], [float("nan")])
OBJECTS = ("x", "", b"x", {}, object(), fs.float32, fs.int64, fs.device("cpu"))


def odd_tensors():
    """Made anew for each call: some are written to."""
    yield from (fs.ones(0), fs.ones(()), fs.ones(2), fs.ones(2, 3), fs.ones(2, 0, 3), fs.ones([1] * 8))
    yield from (
        fs.tensor([5, -9]),
        fs.tensor(HUGE),
        fs.tensor([HUGE, -HUGE]),
        fs.tensor([True, False]),
        fs.tensor(True),
    )
    yield from (fs.ones(3, dtype=fs.float64), fs.ones(3, dtype=fs.bfloat16), fs.ones(3).to(fs.uint16))
    yield from (fs.full((3,), float("nan")), fs.full((2, 3), -float("inf")), fs.zeros(1).expand(3), fs.ones(6)[::2])
    yield from ([fs.ones(2)], [fs.ones(2), None], [fs.ones(2), 1], [fs.ones(2), fs.ones(3), fs.ones(())])
    yield from (_C._empty([3], device="meta"), _C._empty([2, 3], dtype=fs.int64, device="meta"), np.ones(3))
    yield from (np.array(["a"]), fs.ones(3, requires_grad=True))


COUNT = len(list(odd_tensors()))


@pytest.mark.parametrize("key", KNOWN)
def test_no_argument_breaks_an_op(key):
    """Each argument of each op replaced by numbers, lists, objects and tensors that do not fit: an ordinary error or none."""
    op, row = TABLE[key], SAMPLES[key]
    dtype = row.all_dtypes()[0]
    forms = []
    if op["function"]:
        forms.append(getattr(_C, op["name"]))
    elif op["method"]:
        forms.append(lambda x, *rest, **kw: getattr(fs.Tensor, op["name"])(x, *rest, **kw))
    if op["inplace"]:
        forms.append(lambda x, *rest, **kw: getattr(fs.Tensor, op["name"] + "_")(x, *rest, **kw))
    if op["inplace"] and not op["method"] and op["function"]:
        forms[-1] = getattr(_C, op["name"] + "_")
    for number, sample in enumerate(row.samples[:3]):
        for place in range(len(sample.args)):
            for i in range(len(NUMBERS) + len(LISTS) + len(OBJECTS) + COUNT):
                plain = (*NUMBERS, *LISTS, *OBJECTS)
                for f in forms:
                    value = (
                        plain[i]
                        if i < len(plain)
                        else next(v for k, v in enumerate(odd_tensors()) if k == i - len(plain))
                    )
                    args = list(Built(key, row, sample, dtype, number=number).args)
                    args[place] = value
                    try:
                        with warnings.catch_warnings():
                            warnings.simplefilter("ignore")
                            f(*args, **sample.kwargs)
                    except (RuntimeError, IndexError, ValueError, TypeError, OverflowError) as err:
                        assert "internal error" not in str(err), f"{key}{sample}, argument {place} = {value!r}: {err}"


NUMBERS_THAT_DO_NOT_FIT = {
    "tensor": lambda: fs.tensor(float("nan"), dtype=fs.int64),
    "list": lambda: fs.tensor([300.5], dtype=fs.uint8),
    "full": lambda: fs.full((2,), float("inf"), dtype=fs.int64),
    "full_like": lambda: fs.full_like(fs.arange(2), float("nan")),
    "fill": lambda: fs.zeros(2, dtype=fs.int8).fill_(200),
    "half": lambda: fs.zeros(2, dtype=fs.float16).fill_(70000),
    "masked_fill": lambda: fs.arange(2).masked_fill(fs.tensor([True, False]), -float("inf")),
    "index_fill": lambda: fs.arange(2).index_fill(0, fs.tensor([0]), float("nan")),
    "scatter": lambda: fs.arange(2).scatter(0, fs.tensor([0]), float("nan")),
    "where": lambda: fs.where(fs.tensor([True]), 300, fs.zeros(1, dtype=fs.uint8)),
    "index": lambda: fs.arange(2).__setitem__(0, float("nan")),
}


@pytest.mark.parametrize("case", NUMBERS_THAT_DO_NOT_FIT)
def test_numbers_that_a_dtype_cannot_hold(case):
    with pytest.raises(RuntimeError, match="without overflow"):
        NUMBERS_THAT_DO_NOT_FIT[case]()


def test_numbers_that_wrap_or_become_infinite_as_in_pytorch():
    assert fs.full((1,), -1, dtype=fs.uint8).item() == 255
    assert fs.zeros(1, dtype=fs.float16).fill_(float("inf")).item() == float("inf")
    assert fs.tensor(1e10, dtype=fs.float16).item() == float("inf")
    assert fs.tensor([float("nan"), 0.0], dtype=fs.bool).tolist() == [True, False]


def test_ints_beyond_64_bits():
    assert fs.tensor([2**70, 1.5]).tolist() == [2.0**70, 1.5]
    assert fs.tensor(2**63, dtype=fs.float64).item() == 2.0**63
    for data in (2**63, [2**63], -(2**70)):
        with pytest.raises(ValueError, match="Overflow"):
            fs.tensor(data)
    with pytest.raises(RuntimeError, match="Overflow"):
        fs.ones(1) + 2**63


def test_dtypes_of_numpy_numbers_in_lists_are_kept():
    np = pytest.importorskip("numpy")
    assert fs.tensor([np.int32(1)]).dtype is fs.int32
    assert fs.tensor([np.float32(1), np.float64(2)]).dtype is fs.float64
    assert fs.tensor([np.float64(1), 2.0]).dtype is fs.float64
    assert fs.tensor([fs.ones(1), fs.ones(1, 1)]).tolist() == [1.0, 1.0]


def test_names_in_messages_are_those_that_programs_call():
    with pytest.raises(RuntimeError, match=r"^full\(\)"):
        fs.zeros(10**16)
