"""Transforms behave as torchvision's."""

import subprocess
import sys

import firesteel as fs
import numpy as np
import pytest
from firesteel.vision import transforms


def bytes_image(*shape):
    return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)


def test_to_tensor():
    image = bytes_image(2, 3)
    tensor = transforms.ToTensor()(image)
    assert tensor.shape == (1, 2, 3) and tensor.dtype == fs.float32
    np.testing.assert_array_equal(tensor.numpy()[0], (image / np.float32(255)).astype(np.float32))
    colours = bytes_image(2, 3, 4)
    np.testing.assert_array_equal(transforms.ToTensor()(colours).numpy() * 255, colours.transpose(2, 0, 1))
    kept = transforms.ToTensor()(np.float64([[300.5]]))
    assert kept.dtype == fs.float64 and kept.item() == 300.5
    source = np.float32([[1.0]])
    transforms.ToTensor()(source).zero_()
    assert source[0, 0] == 1.0


def test_to_tensor_takes_pil_images():
    Image = pytest.importorskip("PIL.Image")
    image = Image.fromarray(bytes_image(2, 3))
    assert transforms.ToTensor()(image).tolist() == transforms.ToTensor()(bytes_image(2, 3)).tolist()


@pytest.mark.parametrize(
    ("image", "error"),
    [([[1]], TypeError), (fs.zeros(2, 2), TypeError), (np.zeros(3), ValueError), (np.zeros((1, 1, 1, 1)), ValueError)],
    ids=["list", "tensor", "1-d", "4-d"],
)
def test_to_tensor_refuses(image, error):
    with pytest.raises(error):
        transforms.ToTensor()(image)


def test_normalize():
    image = fs.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    result = transforms.Normalize((1.0, 2.0), (0.5, 4.0))(image)
    assert result.tolist() == [[[0.0, 2.0]], [[0.25, 0.5]]] and image[0, 0, 0].item() == 1.0
    batch = transforms.Normalize([1.0], [2.0])(fs.ones(2, 3, 4, 4))
    assert batch.shape == (2, 3, 4, 4) and batch.sum().item() == 0.0
    assert transforms.Normalize([1.0], [2.0], inplace=True)(image) is image
    for bad, error in ((np.ones((1, 1, 1)), TypeError), (fs.ones(1, 1, 1, dtype=fs.uint8), TypeError)):
        with pytest.raises(error):
            transforms.Normalize([0.0], [1.0])(bad)
    with pytest.raises(ValueError, match="image of size"):
        transforms.Normalize([0.0], [1.0])(fs.ones(2, 2))
    with pytest.raises(ValueError, match="zero"):
        transforms.Normalize([0.0], [0.0])(fs.ones(1, 2, 2))


def test_compose_and_lambda():
    both = transforms.Compose([transforms.Lambda(lambda image: image + 1), transforms.ToTensor()])
    assert both(np.float32([[1.0]])).tolist() == [[[2.0]]]
    assert repr(both) == "Compose(\n    Lambda()\n    ToTensor()\n)"
    with pytest.raises(TypeError, match="should be callable"):
        transforms.Lambda(3)


def test_flip():
    image = bytes_image(2, 3)
    for flipped in (
        transforms.RandomHorizontalFlip(1.0)(image),
        transforms.RandomHorizontalFlip(1.0)(fs.tensor(image)),
    ):
        assert flipped.tolist() == [[2, 1, 0], [5, 4, 3]]
    assert transforms.RandomHorizontalFlip(0.0)(image) is image
    fs.manual_seed(0)
    flips = sum(transforms.RandomHorizontalFlip()(image) is not image for _ in range(400))
    assert 150 < flips < 250


@pytest.mark.parametrize(
    ("padding", "shape"), [(1, (4, 5)), ((1, 2), (6, 5)), ((1, 2, 3, 4), (8, 7)), ([2], (6, 7))], ids=str
)
def test_pad(padding, shape):
    image = bytes_image(2, 3) + 1
    padded = transforms.Pad(padding, fill=9)(image)
    assert padded.shape == shape and (padded == 9).sum() == padded.size - 6
    tensor = transforms.Pad(padding, fill=9)(fs.tensor(image).unsqueeze(0))
    assert tensor[0].tolist() == padded.tolist()


def test_pad_modes():
    image = bytes_image(1, 3)
    row = {
        mode: transforms.Pad((2, 0), padding_mode=mode)(image)[0].tolist() for mode in ("edge", "reflect", "symmetric")
    }
    assert row == {"edge": [0, 0, 0, 1, 2, 2, 2], "reflect": [2, 1, 0, 1, 2, 1, 0], "symmetric": [1, 0, 0, 1, 2, 2, 1]}
    with pytest.raises(ValueError, match="Padding mode"):
        transforms.Pad(1, padding_mode="wrap")
    with pytest.raises(ValueError, match="4 element tuple, not a 3"):
        transforms.Pad((1, 2, 3))


def test_random_crop():
    image = bytes_image(5, 6)
    fs.manual_seed(0)
    corners = set()
    for _ in range(200):
        part = transforms.RandomCrop((3, 4))(image)
        top, left = divmod(int(part[0, 0]), 6)
        assert part.tolist() == image[top : top + 3, left : left + 4].tolist()
        corners.add((top, left))
    assert corners == {(top, left) for top in range(3) for left in range(3)}
    assert transforms.RandomCrop(5, padding=2)(fs.ones(1, 3, 3)).shape == (1, 5, 5)
    assert transforms.RandomCrop(8, pad_if_needed=True)(image).shape == (8, 8)
    with pytest.raises(ValueError, match="larger than input image"):
        transforms.RandomCrop(6)(image)


def test_importing_does_not_load_numpy():
    code = "import sys, firesteel.vision.transforms, firesteel.vision.datasets; print('numpy' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    if "torch" not in sys.modules:
        assert out.strip() == "False"
