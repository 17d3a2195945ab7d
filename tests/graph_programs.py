"""What the tests of compile train: a small network, its batches, and a comparison of eager and compiled steps."""

import firesteel as fs
from firesteel import nn

STEPS = 7


def model(dropout=0.0, norm=False):
    fs.manual_seed(0)
    return nn.Sequential(
        nn.Linear(12, 10),
        *([nn.BatchNorm1d(10)] if norm else []),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(10, 4),
    )


def batches(n=STEPS, sizes=(8,)):
    draw = fs.Generator().manual_seed(5)
    for i in range(n):
        rows = sizes[i % len(sizes)]
        yield fs.randn(rows, 12, generator=draw), fs.randint(0, 4, (rows,), generator=draw)


def train_step(net, optimizer, set_to_none=True):
    criterion = nn.CrossEntropyLoss()

    def step(x, y):
        optimizer.zero_grad(set_to_none=set_to_none)
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def run(
    compiled,
    make_optimizer,
    between=None,
    sizes=(8,),
    schedule=False,
    steps=STEPS,
    set_to_none=True,
    device="cpu",
    **kinds,
):
    """Losses and state after some steps, eager or compiled."""
    net = model(**kinds).to(device)
    optimizer = make_optimizer(net.parameters())
    scheduler = fs.optim.lr_scheduler.StepLR(optimizer, 2, 0.5) if schedule else None
    step = train_step(net, optimizer, set_to_none)
    if compiled:
        step = fs.compile(step)
    losses = []
    for i, (x, y) in enumerate(batches(steps, sizes)):
        losses.append(step(x.to(device), y.to(device)).item())
        if scheduler:
            scheduler.step()
        if between:
            between(i, net, optimizer)
    state = [t.tolist() for t in net.state_dict().values()]
    state += [p.grad.tolist() for p in net.parameters() if p.grad is not None]
    for p in net.parameters():
        state += [v.tolist() if isinstance(v, fs.Tensor) else v for v in optimizer.state[p].values()]
    return losses, state, step


OPTIMIZERS = {
    "sgd": lambda p: fs.optim.SGD(p, lr=0.1),
    "momentum": lambda p: fs.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: fs.optim.Adam(p, lr=0.01),
    "amsgrad": lambda p: fs.optim.Adam(p, lr=0.01, amsgrad=True),
    "adamw": lambda p: fs.optim.AdamW(p, lr=0.01),
    "rmsprop": lambda p: fs.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "adagrad": lambda p: fs.optim.Adagrad(p, lr=0.1, lr_decay=0.1),
    "adadelta": lambda p: fs.optim.Adadelta(p, lr=1.0),
}


def assert_same(between=None, recordings=None, make=OPTIMIZERS["adam"], **kinds):
    eager = run(False, make, between, **kinds)
    compiled = run(True, make, between, **kinds)
    assert compiled[0] == eager[0]
    assert compiled[1] == eager[1]
    if recordings is not None:
        assert len(compiled[2]._recordings) == recordings
