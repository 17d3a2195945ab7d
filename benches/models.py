"""The networks of benches/train.py, written once for both libraries: `lib` is `firesteel` or `torch`."""

BATCH = 64
TOKENS = 128
WIDTH, HEADS, LAYERS, CHARACTERS = 128, 4, 4, 65


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
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(9216, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )


def gpt(lib):
    """A character model: blocks of attention and a two-layer network, each added to its normalised input."""
    nn, functional = lib.nn, lib.nn.functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.inputs, self.output = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x):
            n, t, _ = x.shape
            parts = self.inputs(self.norm1(x)).split(WIDTH, 2)
            q, k, v = (p.view(n, t, HEADS, WIDTH // HEADS).transpose(1, 2) for p in parts)
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.output(y.transpose(1, 2).reshape(n, t, WIDTH))
            return x + self.down(functional.gelu(self.up(self.norm2(x))))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.character, self.place = nn.Embedding(CHARACTERS, WIDTH), nn.Embedding(TOKENS, WIDTH)
            self.blocks = nn.Sequential(*[Block() for _ in range(LAYERS)])
            self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CHARACTERS, bias=False)
            self.register_buffer("places", lib.arange(TOKENS))

        def forward(self, x):
            x = self.character(x) + self.place(self.places[: x.shape[1]])
            return self.head(self.norm(self.blocks(x))).reshape(-1, CHARACTERS)

    return GPT()


def residual(lib, stem, stages, blocks, classes):
    """He et al., arXiv 1512.03385: a stem, then stages of blocks, each (channels, out, stride)."""
    nn = lib.nn

    class Block(nn.Module):
        def __init__(self, channels, out, stride):
            super().__init__()
            self.conv1, self.norm1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
            self.conv2, self.norm2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
            self.relu, self.shortcut = nn.ReLU(inplace=True), None
            if stride != 1 or channels != out:
                self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

        def forward(self, x):
            same = x if self.shortcut is None else self.shortcut(x)
            x = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
            x += same
            return self.relu(x)

    layers = list(stem)
    for channels, out, stride in stages:
        layers += [Block(channels, out, stride)] + [Block(out, out, 1) for _ in range(blocks - 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(stages[-1][1], classes))


def resnet18(lib, classes=1000):
    """For images of 224 by 224."""
    nn = lib.nn
    stem = (nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
    return residual(lib, stem, ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)), 2, classes)


def resnet20(lib):
    """For images of 32 by 32 and 10 classes."""
    nn = lib.nn
    stem = (nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
    return residual(lib, stem, ((16, 16, 1), (16, 32, 2), (32, 64, 2)), 3, 10)
