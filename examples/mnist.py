"""Learn to read handwritten digits, with real MNIST and nothing hidden.

    python examples/mnist.py                    a small convolutional network, 3 epochs, over 99 % right
    python examples/mnist.py --model mlp        three linear layers, 10 epochs, over 97 % right

The text below is in the order in which things happen: the data, the networks, one epoch of training, the test, and
the program that puts them together.
"""

import argparse
import time
from pathlib import Path

import firesteel as fs
import firesteel.nn.functional as F
from firesteel import nn, optim
from firesteel.utils.data import DataLoader, TensorDataset
from firesteel.utils.progress import Progress
from firesteel.vision.datasets import MNIST

# The data. An image is 28 x 28 bytes. Networks learn best from numbers around zero, so all images are normalised, with
# the mean and deviation of MNIST's training pixels. Doing that once, here, is faster than doing it for each batch.

MEAN, DEVIATION = 0.1307, 0.3081


def load(folder, train, limit=None):
    digits = MNIST(folder, train=train)
    images = digits.data[:limit].unsqueeze(1).float()
    images.div_(255).sub_(MEAN).div_(DEVIATION)
    return TensorDataset(images, digits.targets[:limit])


# The networks. Both take a batch of images (N, 1, 28, 28) and return, for each image, the logarithm of how probable
# each of the ten digits is.


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = nn.Dropout(0.25)
        self.fc1 = nn.Linear(9216, 128)
        self.dropout2 = nn.Dropout(0.5)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))  # (N, 32, 26, 26)
        x = F.relu(self.conv2(x))  # (N, 64, 24, 24)
        x = F.max_pool2d(x, 2)  # (N, 64, 12, 12)
        x = fs.flatten(self.dropout1(x), 1)  # (N, 9216)
        x = F.relu(self.fc1(x))  # (N, 128)
        x = self.fc2(self.dropout2(x))  # (N, 10)
        return F.log_softmax(x, dim=1)


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 128)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, 10)

    def forward(self, x):
        x = fs.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return F.log_softmax(self.fc3(x), dim=1)


# One epoch: see each image once, in random order, 64 at a time. For each batch: forget the old gradients, predict,
# measure the loss, compute its gradients, let the optimizer change the weights, and let the scheduler choose how far the
# next step may go.


def train(model, loader, optimizer, scheduler, label):
    model.train()
    images, total = len(loader.dataset), 0.0
    with Progress(images, "images", label=label) as bar:
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.nll_loss(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.item() * len(y)
            bar.update(len(y), f"loss {total / (bar.done + len(y)):.4f}")
    return total / images


# The test: images that were not learned from, no dropout, no gradients.


def test(model, loader):
    model.eval()
    total, right = 0.0, 0
    with fs.no_grad():
        for x, y in loader:
            scores = model(x)
            total += F.nll_loss(scores, y, reduction="sum").item()
            right += (scores.argmax(dim=1) == y).sum().item()
    images = len(loader.dataset)
    return total / images, right / images


# The program.


def options(arguments):
    parser = argparse.ArgumentParser(description="Train a network on MNIST.")
    parser.add_argument("--model", choices=["cnn", "mlp"], default="cnn")
    parser.add_argument("--optimizer", choices=["adadelta", "adam", "sgd"], help="default: adam for cnn, else sgd")
    parser.add_argument("--epochs", type=int, help="default: 3 for cnn, 10 for mlp")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--data", type=Path, default=Path(__file__).parent / "data" / "mnist")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, help="default: as many as there are processors")
    parser.add_argument("--limit", type=int, help="use only so many training images, and as many for the test")
    return parser.parse_args(arguments)


def main(arguments=None):
    args = options(arguments)
    fs.manual_seed(args.seed)
    if args.threads:
        fs.set_num_threads(args.threads)

    train_loader = DataLoader(load(args.data, True, args.limit), batch_size=args.batch, shuffle=True)
    test_loader = DataLoader(load(args.data, False, args.limit), batch_size=1000)

    model = CNN() if args.model == "cnn" else MLP()
    kind = args.optimizer or ("adam" if args.model == "cnn" else "sgd")
    epochs = args.epochs or (3 if args.model == "cnn" else 10)
    batches = len(train_loader)
    if kind == "adam":
        # Small steps first, then large ones, then smaller and smaller: the fastest way to a good end.
        optimizer = optim.Adam(model.parameters())
        scheduler = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=epochs * batches)
    else:
        # Each epoch's steps are shorter than the last one's.
        if kind == "adadelta":
            optimizer = optim.Adadelta(model.parameters(), lr=1.0)
        else:
            optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=batches, gamma=0.7)

    weights = sum(p.numel() for p in model.parameters())
    print(f"{args.model} of {weights:,} weights, {kind}, {len(train_loader.dataset):,} images, seed {args.seed}")
    accuracy = 0.0
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        loss = train(model, train_loader, optimizer, scheduler, f"epoch {epoch}/{epochs}")
        rate = len(train_loader.dataset) / (time.perf_counter() - start)
        test_loss, accuracy = test(model, test_loader)
        print(
            f"epoch {epoch}/{epochs}: loss {loss:.4f}, test loss {test_loss:.4f}, "
            f"test accuracy {accuracy:.2%}, {rate:,.0f} images per second",
            flush=True,
        )
    return accuracy


if __name__ == "__main__":
    main()
