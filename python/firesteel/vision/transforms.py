"""What is done with an image before it becomes part of a batch, with torchvision's names and behaviour.

>>> import numpy
>>> from firesteel.vision import transforms
>>> prepare = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
>>> prepare(numpy.array([[0, 255]], dtype=numpy.uint8))
tensor([[[-1.,  1.]]])
"""

from __future__ import annotations

import firesteel as fs
from firesteel import _C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

__all__ = ["Compose", "Lambda", "Normalize", "Pad", "RandomCrop", "RandomHorizontalFlip", "ToTensor"]

Tensor = _C.Tensor


class Compose:
    """Does several transforms in order.

    Args:
        transforms: the transforms.
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, image: Any) -> Any:
        for transform in self.transforms:
            image = transform(image)
        return image

    def __repr__(self) -> str:
        return "\n".join([f"{type(self).__name__}(", *(f"    {transform}" for transform in self.transforms), ")"])


class ToTensor:
    """Makes a float tensor (C, H, W) of an image (H, W) or (H, W, C); bytes are divided by 255.

    Takes a NumPy array or a PIL image.

    >>> import numpy
    >>> ToTensor()(numpy.zeros((2, 3, 1), dtype=numpy.uint8)).shape
    torch.Size([1, 2, 3])
    """

    def __call__(self, image: Any) -> Any:
        """Converts one image.

        Args:
            image: an array (H, W) or (H, W, C), or a PIL image.

        Raises:
            TypeError: for anything else.
            ValueError: for an array with another number of dimensions.
        """
        import numpy

        if not isinstance(image, numpy.ndarray):
            if isinstance(image, Tensor) or not (hasattr(image, "mode") and hasattr(image, "getbands")):
                raise TypeError(f"pic should be PIL Image or ndarray. Got {type(image)}")
            image = numpy.array(image, dtype=numpy.uint8) * 255 if image.mode == "1" else numpy.array(image)
        if image.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {image.ndim} dimensions.")
        planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
        tensor = fs.from_numpy(numpy.ascontiguousarray(planes))
        if tensor.dtype == fs.uint8:
            return tensor.to(fs.get_default_dtype()).div_(255)
        # As torchvision does: other numbers keep their values and their dtype; the array keeps its memory.
        return tensor.clone()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Normalize:
    """Subtracts a mean from each channel and divides by a standard deviation.

    Args:
        mean: one number for each channel.
        std: one number for each channel.
        inplace: change the given tensor.

    Raises:
        TypeError: when called with what is no tensor, or one that holds no floating-point numbers.
        ValueError: for a deviation of zero or a tensor without channels.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        self.mean = mean
        self.std = std
        self.inplace = inplace

    def __call__(self, tensor: Any) -> Any:
        """Normalises one image or a batch of them, (..., C, H, W)."""
        if not isinstance(tensor, Tensor):
            raise TypeError(f"img should be Tensor Image. Got {type(tensor)}")
        if not tensor.is_floating_point():
            raise TypeError(f"Input tensor should be a float tensor. Got {tensor.dtype}.")
        if tensor.ndim < 3:
            raise ValueError(
                f"Expected tensor to be a tensor image of size (..., C, H, W). Got tensor.size() = {tensor.size()}"
            )
        mean = fs.as_tensor(self.mean, dtype=tensor.dtype)
        std = fs.as_tensor(self.std, dtype=tensor.dtype)
        if (std == 0).any():
            raise ValueError(f"std evaluated to zero after conversion to {tensor.dtype}, leading to division by zero.")
        mean, std = (values.view(-1, 1, 1) if values.ndim == 1 else values for values in (mean, std))
        tensor = tensor if self.inplace else tensor.clone()
        return tensor.sub_(mean).div_(std)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(mean={self.mean}, std={self.std})"


class Lambda:
    """Calls a function.

    Args:
        lambd: the function.

    Raises:
        TypeError: when it cannot be called.
    """

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__!r}")
        self.lambd = lambd

    def __call__(self, image: Any) -> Any:
        return self.lambd(image)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class RandomHorizontalFlip:
    """Mirrors an image left to right, with probability `p`.

    Args:
        p: the probability.
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def __call__(self, image: Any) -> Any:
        """Mirrors, or not, an array (H, W) or (H, W, C) or a tensor (..., H, W)."""
        if fs.rand(1).item() >= self.p:
            return image
        if isinstance(image, Tensor):
            return image.flip(-1)
        return image[:, ::-1].copy()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class Pad:
    """Surrounds an image with a border.

    Args:
        padding: its width: one number, (left and right, top and bottom), or (left, top, right, bottom).
        fill: its value, for the constant mode.
        padding_mode: "constant", "edge", "reflect" or "symmetric".

    Raises:
        ValueError: for a padding of another length or an unknown mode.

    >>> import numpy
    >>> Pad(1)(numpy.ones((1, 1), dtype=numpy.uint8)).tolist()
    [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    """

    def __init__(self, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> None:
        if not isinstance(padding, int) and len(padding) not in (1, 2, 4):
            raise ValueError(
                f"Padding must be an int or a 1, 2, or 4 element tuple, not a {len(padding)} element tuple"
            )
        if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
            raise ValueError("Padding mode should be either constant, edge, reflect or symmetric")
        self.padding = padding
        self.fill = fill
        self.padding_mode = padding_mode

    def __call__(self, image: Any) -> Any:
        """Pads an array (H, W) or (H, W, C) or a tensor (..., H, W)."""
        import numpy

        sides = (self.padding,) if isinstance(self.padding, int) else tuple(self.padding)
        left, top, right, bottom = sides * (4 // len(sides))
        options = {"constant_values": self.fill} if self.padding_mode == "constant" else {}
        if isinstance(image, Tensor):
            widths = [(0, 0)] * (image.ndim - 2) + [(top, bottom), (left, right)]
            padded = numpy.pad(image.numpy(), widths, self.padding_mode, **options)  # type: ignore[call-overload]
            return fs.from_numpy(padded)
        widths = [(top, bottom), (left, right)] + [(0, 0)] * (image.ndim - 2)
        return numpy.pad(image, widths, self.padding_mode, **options)  # type: ignore[call-overload]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(padding={self.padding}, fill={self.fill}, padding_mode={self.padding_mode})"


class RandomCrop:
    """Cuts out a part at a random place.

    Args:
        size: height and width of the part; one number for a square.
        padding: a border added first, as for `Pad`.
        pad_if_needed: widen an image that is too small.
        fill: the border's value, for the constant mode.
        padding_mode: "constant", "edge", "reflect" or "symmetric".

    Raises:
        ValueError: when called with an image that is too small.

    >>> import numpy
    >>> RandomCrop(2)(numpy.zeros((5, 5))).shape
    (2, 2)
    """

    def __init__(
        self,
        size: Any,
        padding: Any = None,
        pad_if_needed: bool = False,
        fill: Any = 0,
        padding_mode: str = "constant",
    ) -> None:
        self.size = (size, size) if isinstance(size, int) else (*size, *size)[:2]
        self.padding = padding
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.padding_mode = padding_mode

    def __call__(self, image: Any) -> Any:
        """Crops an array (H, W) or (H, W, C) or a tensor (..., H, W)."""
        if self.padding is not None:
            image = Pad(self.padding, self.fill, self.padding_mode)(image)
        rows, columns = self.size
        height, width = _extent(image)
        if self.pad_if_needed and (height < rows or width < columns):
            border = (max(columns - width, 0), max(rows - height, 0))
            image = Pad(border, self.fill, self.padding_mode)(image)
            height, width = _extent(image)
        if height < rows or width < columns:
            raise ValueError(f"Required crop size {(rows, columns)} is larger than input image size {(height, width)}")
        top = int(fs.randint(0, height - rows + 1, (1,)).item())
        left = int(fs.randint(0, width - columns + 1, (1,)).item())
        if isinstance(image, Tensor):
            return image[..., top : top + rows, left : left + columns]
        return image[top : top + rows, left : left + columns]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, padding={self.padding})"


def _extent(image: Any) -> tuple[int, int]:
    """Height and width."""
    return tuple(image.shape[-2:]) if isinstance(image, Tensor) else tuple(image.shape[:2])
