"""From equal weights and equal batches, training gives PyTorch's losses."""

import firesteel as fs
import numpy as np
import pytest

torch = pytest.importorskip("torch")

STEPS = 20
BATCH = 8


def mlp(lib):
    nn = lib.nn
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))


def cnn(lib):
    nn = lib.nn
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(9216, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def cnn_with_norm(lib):
    nn = lib.nn
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(16),
        nn.Linear(16, 10),
    )


MODELS = {"mlp": mlp, "cnn": cnn, "cnn with norm": cnn_with_norm}
OPTIMIZERS = {
    "SGD": {"lr": 0.05, "momentum": 0.9},
    "Adam": {"lr": 1e-3},
    "Adadelta": {"lr": 1.0},
}


def data():
    """Random images with a bright bar whose height tells the class: something that can be learned."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, (STEPS, BATCH))
    images = rng.normal(0, 0.3, (STEPS, BATCH, 1, 28, 28)).astype(np.float32)
    for step, batch in enumerate(labels):
        for i, label in enumerate(batch):
            images[step, i, 0, 2 * label + 4] += 2.0
    return images, labels


def losses(lib, model, name, weights):
    model.load_state_dict({key: lib.from_numpy(value.copy()) for key, value in weights.items()})
    optimizer = getattr(lib.optim, name)(model.parameters(), **OPTIMIZERS[name])
    schedule = lib.optim.lr_scheduler.StepLR(optimizer, 8, 0.7)
    criterion = lib.nn.CrossEntropyLoss()
    values = []
    for images, labels in zip(*data(), strict=True):
        optimizer.zero_grad()
        loss = criterion(model(lib.from_numpy(images)), lib.from_numpy(labels))
        loss.backward()
        optimizer.step()
        schedule.step()
        values.append(loss.item())
    return values


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("case", MODELS)
def test_losses(case, name):
    torch.manual_seed(0)
    theirs = MODELS[case](torch)
    weights = {key: value.numpy().copy() for key, value in theirs.state_dict().items()}
    expected = losses(torch, theirs, name, weights)
    got = losses(fs, MODELS[case](fs), name, weights)
    assert np.ptp(expected) > 0.1, "losses that hardly move would compare nothing"
    # Sums are rounded in different orders; Adadelta and Adam divide small gradients by small roots.
    np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(got[:3], expected[:3], rtol=1e-4, atol=1e-5)
