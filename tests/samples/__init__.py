"""The one table of op samples: a row per record of the op table, by the record's key. Most tests are made from it."""

from . import (
    attention,
    binary,
    convolution,
    creation,
    fused,
    indexing,
    loss,
    matrix,
    normalization,
    optim,
    pooling,
    reduction,
    resample,
    sorting,
    unary,
    views,
)
from .spec import Built, Row, S, result_dtype, to_numpy

SAMPLES: dict[str, Row] = {}
for _family in (
    unary,
    binary,
    creation,
    views,
    reduction,
    matrix,
    convolution,
    pooling,
    normalization,
    loss,
    resample,
    fused,
    attention,
    indexing,
    sorting,
    optim,
):
    _twice = SAMPLES.keys() & _family.ROWS.keys()
    assert not _twice, f"two rows for {_twice}"
    SAMPLES.update(_family.ROWS)

__all__ = ["SAMPLES", "Built", "Row", "S", "result_dtype", "to_numpy"]
