"""Every optimizer and every schedule takes PyTorch's steps: same parameters, same rates, states that go both ways."""

import warnings

import firesteel as fs
import numpy as np
import pytest

torch = pytest.importorskip("torch")

SHAPES = [(3, 4), (5,), (), (2, 1, 3)]
STEPS = 12

CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.05, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
    ("Adam", {"lr": 0.05}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1, "amsgrad": True}),
    ("Adam", {"lr": 0.05, "maximize": True, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "amsgrad": True, "weight_decay": 0.3}),
    ("RMSprop", {"lr": 0.05}),
    ("RMSprop", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.05, "momentum": 0.5, "centered": True, "alpha": 0.9, "maximize": True}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {"lr": 0.05}),
    ("Adamax", {"lr": 0.05, "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {"lr": 0.05}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "maximize": True}),
    ("RAdam", {"lr": 0.05}),
    ("RAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("ASGD", {"lr": 0.05}),
    ("ASGD", {"lr": 0.05, "t0": 3, "weight_decay": 0.1, "lambd": 0.01}),
    ("Rprop", {"lr": 0.05}),
    ("Rprop", {"lr": 0.05, "etas": (0.4, 1.3), "step_sizes": (0.01, 0.2), "maximize": True}),
]


def numbers(step, shape):
    return np.random.default_rng(step * 1000 + len(shape)).normal(size=shape)


class Run:
    """One optimizer of either library over the same parameters, fed the same gradients."""

    def __init__(self, lib, name, options, dtype):
        self.lib, self.dtype = lib, getattr(lib, dtype)
        self.params = [self.tensor(numbers(0, shape)).requires_grad_() for shape in SHAPES]
        groups = [{"params": self.params[:2]}, {"params": self.params[2:], "lr": 0.02}]
        self.optimizer = getattr(lib.optim, name)(groups, **options)

    def tensor(self, values):
        return self.lib.tensor(np.asarray(values).tolist(), dtype=self.dtype)

    def step(self, number):
        for i, p in enumerate(self.params):
            # The last parameter now and then has no gradient: its step count must fall behind.
            p.grad = None if i == 3 and number % 3 == 1 else self.tensor(numbers(number, SHAPES[i]))
        self.optimizer.step()

    def values(self):
        return [p.detach().numpy() for p in self.params]


def close(ours, theirs, dtype, what):
    tolerance = 1e-12 if dtype == "float64" else 2e-6
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance, err_msg=what)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda case: str(case))
def test_steps(name, options, dtype):
    ours, theirs = Run(fs, name, options, dtype), Run(torch, name, options, dtype)
    for number in range(1, STEPS + 1):
        ours.step(number)
        theirs.step(number)
        close(ours.values(), theirs.values(), dtype, f"{name} {options}, step {number}")
    mine, other = ours.optimizer.state_dict(), theirs.optimizer.state_dict()
    assert [sorted(g) for g in mine["param_groups"]] == [sorted(g) for g in other["param_groups"]]
    assert set(mine["state"]) == set(other["state"])
    for number, entry in other["state"].items():
        assert list(mine["state"][number]) == list(entry), f"state of parameter {number}"
        for key, value in entry.items():
            got = mine["state"][number][key]
            assert str(got.dtype).split(".")[-1] == str(value.dtype).split(".")[-1], key
            close([got.numpy()], [value.numpy()], dtype, f"state {key} of parameter {number}")


@pytest.mark.parametrize(("name", "options"), CASES[::2], ids=lambda case: str(case))
def test_a_state_of_pytorch_goes_on_here(name, options):
    theirs = Run(torch, name, options, "float64")
    for number in range(1, 5):
        theirs.step(number)
    ours = Run(fs, name, options, "float64")
    saved = theirs.optimizer.state_dict()
    theirs.optimizer.load_state_dict(saved)  # as loading casts some float32 counters to the parameter's dtype
    ours.optimizer.load_state_dict(
        {
            "param_groups": saved["param_groups"],
            "state": {
                number: {
                    key: fs.tensor(value.tolist(), dtype=getattr(fs, str(value.dtype).split(".")[-1]))
                    for key, value in entry.items()
                }
                for number, entry in saved["state"].items()
            },
        }
    )
    for mine, other in zip(ours.params, theirs.params, strict=True):
        mine.data = ours.tensor(other.detach().numpy())
    for number in range(5, 9):
        ours.step(number)
        theirs.step(number)
        close(ours.values(), theirs.values(), "float64", f"{name}, step {number}")


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs(search):
    def run(lib):
        w = lib.tensor([-1.5, 2.0, 0.5], dtype=lib.float64, requires_grad=True)
        optimizer = lib.optim.LBFGS([w], lr=0.1 if search is None else 1, line_search_fn=search, history_size=4)
        losses = []

        def closure():
            optimizer.zero_grad()
            loss = ((w[1:] - w[:-1] ** 2) ** 2).sum() * 10 + ((1 - w[:-1]) ** 2).sum()
            loss.backward()
            return loss

        for _ in range(3):
            losses.append(optimizer.step(closure).item())
        return [*losses, *w.tolist(), optimizer.state[w]["func_evals"], optimizer.state[w]["n_iter"]]

    np.testing.assert_allclose(run(fs), run(torch), rtol=1e-7, atol=1e-9)


SCHEDULES = [
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 9], "gamma": 0.5}),
    ("ConstantLR", {"factor": 0.3, "total_iters": 4}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 7}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("PolynomialLR", {"total_iters": 8, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 4}),
    ("LambdaLR", {"lr_lambda": [lambda step: 0.9**step, lambda step: 1 / (step + 1)]}),
    ("MultiplicativeLR", {"lr_lambda": lambda step: 0.95}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": [0.1, 0.2], "step_size_up": 3, "step_size_down": 4}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3, "mode": "triangular2"}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3, "mode": "exp_range", "gamma": 0.9}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3, "scale_fn": lambda x: 1 / (1 + x)}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 20}),
    ("OneCycleLR", {"max_lr": [0.5, 0.3], "epochs": 4, "steps_per_epoch": 5, "three_phase": True}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 20, "anneal_strategy": "linear", "pct_start": 0.4}),
]


def optimizer_of(lib, kind):
    w = lib.zeros(1, requires_grad=True)
    v = lib.zeros(1, requires_grad=True)
    optimizer = getattr(lib.optim, kind)([{"params": [w]}, {"params": [v], "lr": 0.3}], lr=0.1)
    if kind == "SGD":
        for group in optimizer.param_groups:
            group["momentum"] = 0.9
    return optimizer


def record(optimizer, scheduler, steps, step=None):
    rows = []
    for i in range(steps):
        optimizer.step()
        step(i) if step else scheduler.step()
        rows.append([(g["lr"], g.get("momentum", g.get("betas"))) for g in optimizer.param_groups])
        assert scheduler.get_last_lr() == [g["lr"] for g in optimizer.param_groups]
    return rows


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize(("name", "options"), SCHEDULES, ids=lambda case: str(case)[:40])
def test_schedules(name, options, kind):
    rows, states = [], []
    for lib in (fs, torch):
        optimizer = optimizer_of(lib, kind)
        scheduler = getattr(lib.optim.lr_scheduler, name)(optimizer, **options)
        first = [group["lr"] for group in optimizer.param_groups]
        rows.append([first, *record(optimizer, scheduler, 18)])
        states.append({key: value for key, value in scheduler.state_dict().items() if "lambda" not in key})
    assert rows[0] == rows[1]
    assert states[0].keys() == states[1].keys()
    assert states[0] == states[1]


@pytest.mark.parametrize("name", ["StepLR", "MultiStepLR", "ExponentialLR", "CosineAnnealingLR", "LinearLR"])
def test_schedules_in_closed_form(name):
    options = dict(SCHEDULES)[name]
    rows = []
    for lib in (fs, torch):
        optimizer = optimizer_of(lib, "SGD")
        scheduler = getattr(lib.optim.lr_scheduler, name)(optimizer, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows.append(record(optimizer, scheduler, 6, lambda i, s=scheduler: s.step(2 * i + 1)))
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 1},
        {"patience": 0, "cooldown": 2, "factor": 0.5, "min_lr": [0.02, 0.1]},
        {"mode": "max", "patience": 1, "threshold": 0.1, "threshold_mode": "abs"},
        {"mode": "max", "patience": 1, "threshold": 0.1},
    ],
    ids=str,
)
def test_plateau(options):
    losses = [3.0, 2.0, 2.0, 1.99, 2.5, 2.5, 1.0, 1.0, 1.0, 1.0, 1.2, 1.3, 1.4, 1.4, float("nan"), 1.0]
    rows, states = [], []
    for lib in (fs, torch):
        optimizer = optimizer_of(lib, "SGD")
        scheduler = lib.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        rows.append(record(optimizer, scheduler, len(losses), lambda i, s=scheduler: s.step(losses[i])))
        states.append(scheduler.state_dict())
    assert rows[0] == rows[1]
    assert states[0] == states[1]


def test_combined_schedules():
    rows, states = [], []
    for lib in (fs, torch):
        kinds = lib.optim.lr_scheduler
        optimizer = optimizer_of(lib, "SGD")
        warmup = kinds.ConstantLR(optimizer, factor=0.1, total_iters=3)
        main = kinds.ExponentialLR(optimizer, gamma=0.9)
        tail = kinds.CosineAnnealingLR(optimizer, T_max=4)
        sequence = kinds.SequentialLR(optimizer, [warmup, main, tail], milestones=[3, 7])
        rows.append(record(optimizer, sequence, 12))
        chain = kinds.ChainedScheduler([kinds.StepLR(optimizer, 2, 0.5), kinds.ExponentialLR(optimizer, 0.95)])
        rows[-1] += record(optimizer, chain, 8)
        states.append([sequence.state_dict()["last_epoch"], sequence.state_dict()["_schedulers"][1]])
    assert rows[0] == rows[1]
    assert states[0] == states[1]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"lr": -1.0}),
        ("SGD", {"momentum": -1.0}),
        ("SGD", {"weight_decay": -1.0}),
        ("SGD", {"nesterov": True}),
        ("Adam", {"betas": (1.0, 0.9)}),
        ("Adam", {"betas": (0, 0.9)}),
        ("Adam", {"eps": -1.0}),
        ("Adam", {"fused": True, "foreach": True}),
        ("RMSprop", {"alpha": -0.5}),
        ("Adagrad", {"initial_accumulator_value": -1}),
        ("Adadelta", {"rho": 1.5}),
        ("Rprop", {"etas": (1.1, 1.2)}),
        ("NAdam", {"momentum_decay": -1.0}),
    ],
    ids=lambda case: str(case),
)
def test_refusals(name, options):
    messages = []
    for lib in (fs, torch):
        with pytest.raises((ValueError, RuntimeError)) as caught:
            getattr(lib.optim, name)([lib.zeros(1, requires_grad=True)], **options)
        messages.append((type(caught.value), str(caught.value)))
    assert messages[0] == messages[1]


BAD_PARAMETERS = {
    "a tensor": lambda lib: lib.zeros(1, requires_grad=True),
    "none": lambda lib: [],
    "a set": lambda lib: [{"params": {lib.zeros(1, requires_grad=True)}}],
    "no leaf": lambda lib: [lib.zeros(1, requires_grad=True) * 2],
    "twice": lambda lib: [{"params": [p]} for p in [lib.zeros(1, requires_grad=True)] * 2],
    "half named": lambda lib: [("a", lib.zeros(1, requires_grad=True)), lib.ones(1, requires_grad=True)],
}


@pytest.mark.parametrize("case", BAD_PARAMETERS)
def test_bad_parameters(case):
    messages = []
    for lib in (fs, torch):
        with pytest.raises((ValueError, TypeError)) as caught:
            lib.optim.SGD(BAD_PARAMETERS[case](lib), lr=0.1)
        messages.append((type(caught.value), str(caught.value).replace("torch.", "").replace("firesteel.", "")))
    assert messages[0] == messages[1]


def test_repr():
    ours, theirs = (repr(lib.optim.AdamW([lib.zeros(1, requires_grad=True)])) for lib in (fs, torch))
    assert ours == theirs
