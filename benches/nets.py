"""How long training steps and answers of well-known networks take, firesteel and PyTorch in turns: those of tutorials, and
small ones of each kind (convolutional, transposed, separable, attending, recurrent, dense).

    python benches/nets.py                      all, with one thread and with two
    python benches/nets.py --only dcgan --threads 1 --rounds 20

A step is loss, gradients and Adam; an answer is a forward pass without gradients. "Share" is our time over PyTorch's.
"""

import argparse
import importlib
import sys
from functools import partial

import models
from quick import Quick
from train import seconds_per_step


def lenet(lib):
    nn = lib.nn
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


def alexnet(lib):
    nn = lib.nn
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Flatten(), nn.Linear(9216, 1024), nn.ReLU(), nn.Linear(1024, 100)),
    )


def vgg(lib):
    nn = lib.nn
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(128, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4096, 256), nn.ReLU(), nn.Linear(256, 10)),
    )


def dqn(lib):
    nn = lib.nn
    return nn.Sequential(
        *(nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 6)),
    )


def generator(lib):
    nn, layers = lib.nn, []
    for cin, cout, stride, padding in [(100, 256, 1, 0), (256, 128, 2, 1), (128, 64, 2, 1)]:
        layers += [nn.ConvTranspose2d(cin, cout, 4, stride, padding, bias=False), nn.BatchNorm2d(cout), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False), nn.Tanh())


def discriminator(lib):
    nn, layers = lib.nn, []
    for cin, cout in [(3, 64), (64, 128), (128, 256)]:
        layers += [nn.Conv2d(cin, cout, 4, 2, 1, bias=False), nn.BatchNorm2d(cout), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(256, 1, 4, bias=False), nn.Sigmoid(), nn.Flatten())


def dilated(lib):
    nn = lib.nn
    return nn.Sequential(
        *(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=2, dilation=2), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, padding=4, dilation=4), nn.ReLU(), nn.Conv2d(32, 2, 1)),
    )


def pyramid(lib):
    """Of taps 6, 12 and 18 apart, and of all positions (Chen et al. 2017)."""
    nn, functional = lib.nn, lib.nn.functional

    def branch(cin, k=1, dilation=1):
        padding = dilation if k > 1 else 0
        layer = nn.Conv2d(cin, 128, k, padding=padding, dilation=dilation, bias=False)
        return nn.Sequential(layer, nn.BatchNorm2d(128), nn.ReLU())

    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.branches = nn.ModuleList([branch(256), *(branch(256, 3, d) for d in (6, 12, 18))])
            self.all = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(256, 128, 1), nn.ReLU())
            self.join, self.classes = branch(5 * 128), nn.Conv2d(128, 21, 1)

        def forward(self, x):
            size = x.shape[2:]
            parts = [*(b(x) for b in self.branches), functional.interpolate(self.all(x), size, mode="bilinear")]
            return self.classes(self.join(lib.cat(parts, 1)))

    return Pyramid()


def mobilenet(lib):
    """Inverted residuals (Sandler et al. 2018), squeeze and excitation."""
    nn, functional = lib.nn, lib.nn.functional

    class Residual(nn.Module):
        def __init__(self, cin, cout, stride):
            super().__init__()
            wide = 6 * cin
            self.body = nn.Sequential(
                *(nn.Conv2d(cin, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()),
                *(nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()),
                *(nn.Conv2d(wide, cout, 1, bias=False), nn.BatchNorm2d(cout)),
            )
            self.adds = stride == 1 and cin == cout

        def forward(self, x):
            y = self.body(x)
            return x + y if self.adds else y

    class Squeeze(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.down, self.up = nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, channels, 1)

        def forward(self, x):
            gate = self.up(functional.relu(self.down(functional.adaptive_avg_pool2d(x, 1))))
            return x * lib.sigmoid(gate)

    return nn.Sequential(
        *(nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU6()),
        *(Residual(32, 32, 1), Residual(32, 64, 2), Residual(64, 64, 1), Squeeze(64)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    )


def unet(lib):
    nn, functional = lib.nn, lib.nn.functional

    def twice(cin, cout):
        first, second = nn.Conv2d(cin, cout, 3, padding=1), nn.Conv2d(cout, cout, 3, padding=1)
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())

    class UNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.down1, self.down2, self.down3 = twice(3, 16), twice(16, 32), twice(32, 64)
            self.up2, self.join2 = nn.ConvTranspose2d(64, 32, 2, 2), twice(64, 32)
            self.up1, self.join1 = nn.ConvTranspose2d(32, 16, 2, 2), twice(32, 16)
            self.output = nn.Conv2d(16, 2, 1)

        def forward(self, x):
            a = self.down1(x)
            b = self.down2(functional.max_pool2d(a, 2))
            x = self.down3(functional.max_pool2d(b, 2))
            x = self.join2(lib.cat([self.up2(x), b], 1))
            return self.output(self.join1(lib.cat([self.up1(x), a], 1)))

    return UNet()


def vit(lib):
    nn = lib.nn

    class ViT(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, 192, 16, 16)
            self.places = nn.Parameter(lib.randn(1, 196, 192) * 0.02)
            layer = encoder(lib, 192, 3, gelu=True)
            self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
            self.head = nn.Linear(192, 100)

        def forward(self, x):
            x = self.patches(x).flatten(2).transpose(1, 2) + self.places
            return self.head(self.encoder(x).mean(1))

    return ViT()


def encoder(lib, width=256, heads=4, gelu=False):
    options = {"activation": "gelu", "norm_first": True} if gelu else {}
    return lib.nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True, **options)


def characters(lib):
    nn = lib.nn

    class Characters(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.lstm = nn.Embedding(80, 64), nn.LSTM(64, 128, 2, batch_first=True)
            self.head = nn.Linear(128, 80)

        def forward(self, x):
            return self.head(self.lstm(self.embedding(x))[0]).flatten(0, 1)

    return Characters()


def gru(lib):
    nn = lib.nn

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru, self.head = nn.GRU(40, 128, 2, batch_first=True), nn.Linear(128, 10)

        def forward(self, x):
            return self.head(self.gru(x)[0][:, -1])

    return Last()


def sentences(lib):
    """Convolutions over words (Kim 2014)."""
    nn, functional = lib.nn, lib.nn.functional

    class Sentences(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(5000, 100)
            self.windows = nn.ModuleList([nn.Conv1d(100, 100, k) for k in (3, 4, 5)])
            self.head = nn.Linear(300, 2)

        def forward(self, x):
            x = self.embedding(x).transpose(1, 2)
            return self.head(lib.cat([functional.relu(window(x)).max(2)[0] for window in self.windows], 1))

    return Sentences()


def tcn(lib):
    nn, functional = lib.nn, lib.nn.functional

    class TCN(nn.Module):
        def __init__(self):
            super().__init__()
            layers = [nn.Conv1d(32 if i else 1, 32, 3, padding=2**i, dilation=2**i) for i in range(5)]
            self.layers, self.head = nn.ModuleList(layers), nn.Linear(32, 10)

        def forward(self, x):
            for layer in self.layers:
                x = functional.relu(layer(x))
            return self.head(x.mean(2))

    return TCN()


def autoencoder(lib):
    nn = lib.nn
    return nn.Sequential(
        nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 20), nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784)
    )


def policy(lib):
    nn = lib.nn
    return nn.Sequential(nn.Linear(4, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 2))


# The model, the input's shape (of whole numbers below a number), classes (none: the mean of squares), training.
NETS = {
    "LeNet, CIFAR, 4": (lenet, (4, 3, 32, 32), 10),
    "LeNet, CIFAR, 64": (lenet, (64, 3, 32, 32), 10),
    "AlexNet, 4": (alexnet, (4, 3, 224, 224), 100),
    "AlexNet, 1, answer": (alexnet, (1, 3, 224, 224), None),
    "VGG, CIFAR, 16": (vgg, (16, 3, 32, 32), 10),
    "ResNet-20, CIFAR, 64": (models.resnet20, (64, 3, 32, 32), 10),
    "ResNet-18, CIFAR, 64": (partial(models.resnet18, classes=10), (64, 3, 32, 32), 10),
    "ResNet-18, CIFAR, 1, answer": (partial(models.resnet18, classes=10), (1, 3, 32, 32), None),
    "MobileNet, 8": (mobilenet, (8, 3, 96, 96), 10),
    "MobileNet, 1, answer": (mobilenet, (1, 3, 96, 96), None),
    "DQN, 32": (dqn, (32, 4, 84, 84), 0),
    "DQN, 1, answer": (dqn, (1, 4, 84, 84), None),
    "DCGAN generator, 16": (generator, (16, 100, 1, 1), 0),
    "DCGAN discriminator, 16": (discriminator, (16, 3, 32, 32), 0),
    "U-Net, 4": (unet, (4, 3, 64, 64), 0),
    "dilated 3x3, 4": (dilated, (4, 3, 64, 64), 0),
    "DeepLab head, 2": (pyramid, (2, 256, 33, 33), 0),
    "ViT, 4": (vit, (4, 3, 224, 224), 100),
    "ViT, 1, answer": (vit, (1, 3, 224, 224), None),
    "encoder layer, 16 x 64": (encoder, (16, 64, 256), 0),
    "encoder layer, 1 x 16, answer": (encoder, (1, 16, 256), None),
    "LSTM characters, 32 x 64": (characters, (80, 32, 64), 80),
    "GRU, 16 x 50": (gru, (16, 50, 40), 10),
    "sentences, 32 x 60": (sentences, (5000, 32, 60), 2),
    "TCN, 16 x 500": (tcn, (16, 1, 500), 10),
    "autoencoder, 128": (autoencoder, (128, 784), 0),
    "policy, 64": (policy, (64, 4), 0),
    "policy, 1, answer": (policy, (1, 4), None),
}
WORDS = ("LSTM", "sentences")


def stepper(lib, name):
    """A function that takes one training step, or gives an answer."""
    lib.manual_seed(0)
    build, shape, classes = NETS[name]
    model = build(lib)
    x = lib.randint(0, shape[0], shape[1:]) if name.startswith(WORDS) else lib.randn(*shape)
    if classes is None:
        model.eval()

        def answer():
            with lib.no_grad():
                return model(x).sum()

        return answer
    labels = lib.randint(0, classes, (model(x).shape[0],)) if classes else None
    optimizer = lib.optim.Adam(model.parameters(), lr=1e-4)

    def step():
        optimizer.zero_grad()
        y = model(x)
        loss = lib.nn.functional.cross_entropy(y, labels) if classes else (y * y).mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="nets whose names have this in them")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    libs = {name: importlib.import_module(name) for name in ("firesteel", "torch")}
    print("net                           | threads | firesteel ms |  torch ms | share")
    print("-" * 77)
    for name in [name for name in NETS if args.only in name]:
        for threads in [args.threads] if args.threads else (1, 2):
            with Quick(libs["firesteel"], threads) as quick:
                times = seconds_per_step(libs, partial(stepper, name=name), threads, None, args.rounds, quick)
            ours, theirs = times["firesteel"] * 1e3, times["torch"] * 1e3
            print(f"{name:29} | {threads:7} | {ours:12.3f} | {theirs:9.3f} | {ours / theirs:.2f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
