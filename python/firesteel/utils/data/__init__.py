"""Datasets, samplers and the loader that makes batches of them, with PyTorch's names and arguments.

>>> import firesteel as fs
>>> from firesteel.utils.data import DataLoader, TensorDataset
>>> data = TensorDataset(fs.arange(6).view(6, 1), fs.arange(6))
>>> for x, y in DataLoader(data, batch_size=4):
...     print(x.shape, y.tolist())
torch.Size([4, 1]) [0, 1, 2, 3]
torch.Size([2, 1]) [4, 5]
"""

from .collate import default_collate, default_convert
from .dataloader import DataLoader
from .dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from .distributed import DistributedSampler
from .sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from .worker import get_worker_info

__all__ = [
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "DistributedSampler",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "default_convert",
    "get_worker_info",
    "random_split",
]
