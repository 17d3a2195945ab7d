"""MNIST and Fashion-MNIST, from the standard idx files."""

from __future__ import annotations

import os

import firesteel as fs
from firesteel.utils.data import Dataset

from .download import fetch
from .idx import read_idx

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar

__all__ = ["MNIST", "FashionMNIST"]


class MNIST(Dataset[tuple[object, object]]):
    """Handwritten digits: 60,000 images of 28 x 28 for training, 10,000 for testing (LeCun, Cortes and Burges).

    A sample is `(image, label)`. Unlike torchvision's, the image is a NumPy array (28, 28) of uint8, not PIL's:
    `ToTensor` takes both.

    Args:
        root: a directory with the four idx files, gzipped or not, or one above: `root`, `root/raw`,
            `root/MNIST/raw` (torchvision's place) and `root/mnist` are searched.
        train: the training set, else the test set.
        transform: what is done with each image.
        target_transform: what is done with each label.
        download: fetch what is missing, to `root/MNIST/raw`.

    Attributes:
        data: all images, a uint8 tensor (N, 28, 28).
        targets: all labels, an int64 tensor (N,).
        classes: the labels' names.

    Raises:
        RuntimeError: when the files are not there, or cannot be downloaded.
        ValueError: when a file is damaged; it names the file and the sizes expected.
    """

    mirrors: tuple[str, ...] = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")
    # Name of the gzipped file -> its MD5 sum.
    resources: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    }
    classes: ClassVar[list[str]] = [
        "0 - zero",
        "1 - one",
        "2 - two",
        "3 - three",
        "4 - four",
        "5 - five",
        "6 - six",
        "7 - seven",
        "8 - eight",
        "9 - nine",
    ]
    directories = ("", "raw", "MNIST/raw", "MNIST", "mnist")

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        download: bool = False,
    ) -> None:
        self.root = os.path.expanduser(os.fspath(root))
        self.train = train
        self.transform = transform
        self.target_transform = target_transform
        if download:
            self.download()
        self.data, self.targets = self._load()

    @property
    def raw_folder(self) -> str:
        """Where `download` puts the files."""
        return os.path.join(self.root, type(self).__name__, "raw")

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The number of each class by its name."""
        return {name: i for i, name in enumerate(self.classes)}

    def download(self) -> None:
        """Fetches the files that are not there yet.

        Raises:
            RuntimeError: when no mirror gave a file; it names each and what was wrong.
        """
        for name, md5 in self.resources.items():
            if self._find(name) is None:
                fetch([mirror + name for mirror in self.mirrors], os.path.join(self.raw_folder, name), md5)

    def _find(self, name: str) -> str | None:
        """The path of a file, gzipped or not."""
        for directory in self.directories:
            for candidate in (name, name.removesuffix(".gz")):
                path = os.path.join(self.root, directory, candidate)
                if os.path.isfile(path):
                    return path
        return None

    def _load(self) -> tuple[Any, Any]:
        part = "train" if self.train else "t10k"
        paths = []
        for name in (f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz"):
            path = self._find(name)
            if path is None:
                raise RuntimeError(
                    f"Dataset not found: no {name} below {self.root!r}. You can use download=True to download it"
                )
            paths.append(path)
        images, labels = (read_idx(path) for path in paths)
        if images.ndim != 3 or images.dtype.str != "|u1":
            raise ValueError(f"{paths[0]}: expected images of bytes, got {images.dtype} of shape {images.shape}")
        if labels.ndim != 1 or labels.dtype.str != "|u1":
            raise ValueError(f"{paths[1]}: expected labels of bytes, got {labels.dtype} of shape {labels.shape}")
        if len(images) != len(labels):
            raise ValueError(f"{paths[0]} holds {len(images)} images, but {paths[1]} {len(labels)} labels")
        if len(labels) and labels.max() >= len(self.classes):
            raise ValueError(f"{paths[1]}: label {labels.max()} found, expected 0 to {len(self.classes) - 1}")
        return fs.from_numpy(images), fs.from_numpy(labels).to(fs.int64)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image, label = self.data[index].numpy(), int(self.targets[index])
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            label = self.target_transform(label)
        return image, label

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        lines = [
            f"Dataset {type(self).__name__}",
            f"    Number of datapoints: {len(self)}",
            f"    Root location: {self.root}",
            f"    Split: {'Train' if self.train else 'Test'}",
        ]
        return "\n".join(lines)


class FashionMNIST(MNIST):
    """Images of clothes in MNIST's format and sizes (Xiao, Rasul and Vollgraf, 2017); arguments as for `MNIST`."""

    mirrors = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
    resources: ClassVar[dict[str, str]] = {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }
    classes: ClassVar[list[str]] = [
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ]
    directories = ("", "raw", "FashionMNIST/raw", "FashionMNIST", "fashion-mnist")
