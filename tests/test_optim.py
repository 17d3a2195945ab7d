"""Optimizers and schedules: their own rules, states and hooks. Their steps are compared with PyTorch's in parity/."""

import copy
import pickle
import warnings

import firesteel as fs
import pytest
from firesteel import optim
from firesteel.optim import lr_scheduler as schedules

OPTIMIZERS = {
    "SGD": {"lr": 0.1},
    "SGD with momentum": {"lr": 0.05, "momentum": 0.5},
    "Adam": {"lr": 0.2},
    "Adam with amsgrad": {"lr": 0.2, "amsgrad": True},
    "AdamW": {"lr": 0.2, "weight_decay": 0.0},
    "RMSprop": {"lr": 0.05},
    "RMSprop centered": {"lr": 0.05, "momentum": 0.5, "centered": True},
    "Adagrad": {"lr": 0.5},
    "Adadelta": {"lr": 20.0},
    "Adamax": {"lr": 0.2},
    "NAdam": {"lr": 0.2},
    "RAdam": {"lr": 0.2},
    "ASGD": {"lr": 0.1},
    "Rprop": {"lr": 0.1},
}


def make(case, params, **more):
    return getattr(optim, case.split()[0])(params, **{**OPTIMIZERS[case], **more})


def parameters(*values):
    return [fs.tensor(value, requires_grad=True) for value in values]


def descend(optimizer, params, steps=1):
    for _ in range(steps):
        optimizer.zero_grad()
        loss = sum(((p - 1.0) ** 2).sum() for p in params)
        loss.backward()
        optimizer.step()
    return loss.item()


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_finds_the_minimum(case):
    params = parameters([[3.0, -2.0], [0.5, 4.0]], -1.0, [0.0])
    optimizer = make(case, params)
    first = descend(optimizer, params)
    assert descend(optimizer, params, 150) < 1e-2 * first


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_maximize_mirrors(case):
    (up,), (down,) = parameters([1.0, 2.0]), parameters([1.0, 2.0])
    climbing, falling = make(case, [up], maximize=True), make(case, [down])
    for _ in range(3):
        up.grad, down.grad = fs.tensor([-0.5, 0.25]), fs.tensor([0.5, -0.25])
        climbing.step()
        falling.step()
    assert up.tolist() == down.tolist()


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_strided_parameters(case):
    base = fs.arange(12.0).view(3, 4)
    (dense,), strided = parameters(base.t().tolist()), base.clone().t().requires_grad_()
    for p in (dense, strided):
        optimizer = make(case, [p])
        for step in range(3):
            p.grad = (fs.arange(12.0).view(4, 3) - 5.0) * (step + 1)
            optimizer.step()
    assert dense.tolist() == strided.tolist()


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_states_are_saved_and_go_on(case):
    params, others = parameters([1.0, 2.0], [3.0]), parameters([1.0, 2.0], [3.0])
    optimizer = make(case, params)
    descend(optimizer, params, 3)
    for p, other in zip(params, others, strict=True):
        other.data = p.detach().clone()
    resumed = make(case, others)
    resumed.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))
    descend(optimizer, params, 3)
    descend(resumed, others, 3)
    assert [p.tolist() for p in params] == [p.tolist() for p in others]


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_copies_and_pickles(case):
    params = parameters([1.0, 2.0])
    optimizer = make(case, params)
    descend(optimizer, params, 2)
    for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        (p,) = other.param_groups[0]["params"]
        assert p is not params[0]
        descend(other, [p])
        mine = params[0].detach().clone().requires_grad_()
        again = make(case, [mine])
        again.load_state_dict(optimizer.state_dict())
        descend(again, [mine])
        assert p.tolist() == mine.tolist()


def test_a_loaded_state_is_a_copy():
    params, others = parameters([1.0]), parameters([1.0])
    optimizer, other = optim.SGD(params, momentum=0.9), optim.SGD(others, momentum=0.9)
    descend(optimizer, params)
    before = optimizer.state[params[0]]["momentum_buffer"].tolist()
    other.load_state_dict(optimizer.state_dict())
    descend(other, others, 3)
    assert optimizer.state[params[0]]["momentum_buffer"].tolist() == before


def test_steps_are_counted_in_tensors():
    params = parameters([1.0], [2.0])
    optimizer = optim.Adam(params)
    for i in range(3):
        params[0].grad, params[1].grad = fs.ones(1), fs.ones(1) if i else None
        optimizer.step()
    steps = [optimizer.state[p]["step"] for p in params]
    assert [step.item() for step in steps] == [3.0, 2.0]
    assert all(step.dtype == fs.float32 and step.shape == () for step in steps)
    # What is written there counts: Adam's correction is that of a late step.
    steps[0].fill_(1e6)
    before = params[0].item()
    params[0].grad = fs.zeros(1)
    optimizer.step()
    mean, square = (optimizer.state[params[0]][key].item() for key in ("exp_avg", "exp_avg_sq"))
    assert before - params[0].item() == pytest.approx(1e-3 * mean / square**0.5, rel=1e-3)


def test_no_gradient_no_step():
    params = parameters([1.0], [2.0])
    optimizer = optim.SGD(params, lr=0.1, momentum=0.9)
    optimizer.step()
    assert not optimizer.state
    params[0].grad = fs.ones(1)
    optimizer.step()
    assert params[1].tolist() == [2.0] and list(optimizer.state) == [params[0]]


def test_a_step_that_raises_changes_nothing():
    params = parameters([1.0, 2.0], [3.0])
    optimizer = optim.Adam(params)
    params[0].grad = fs.ones(2)
    params[1].grad = fs.ones(1)
    optimizer.param_groups[0]["betas"] = (0.9, None)
    with pytest.raises(TypeError):
        optimizer.step()
    assert not optimizer.state and params[0].tolist() == [1.0, 2.0]


def test_zero_grad():
    (p,) = parameters([1.0])
    optimizer = optim.SGD([p])
    p.grad = fs.ones(1)
    kept = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is kept and kept.tolist() == [0.0]
    optimizer.zero_grad()
    assert p.grad is None


def test_groups_and_names():
    a, b, c = parameters([1.0], [1.0], [1.0])
    optimizer = optim.SGD([{"params": a}, {"params": [b], "lr": 1.0}], lr=0.5)
    optimizer.add_param_group({"params": iter([c]), "lr": 2.0})
    for p in (a, b, c):
        p.grad = fs.ones(1)
    optimizer.step()
    assert [p.item() for p in (a, b, c)] == [0.5, 0.0, -1.0]
    named = optim.SGD([("weight", a), ("bias", b)], lr=0.1)
    assert named.param_groups[0]["param_names"] == ["weight", "bias"]
    assert named.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ValueError, match="with/without names"):
        named.add_param_group({"params": [c]})
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optim.SGD([a, a])


def test_loading_a_state_that_does_not_fit_changes_nothing():
    params = parameters([1.0], [2.0])
    optimizer = optim.SGD(params, lr=0.1)
    two = optim.SGD([{"params": [params[0]]}, {"params": [params[1]]}])
    with pytest.raises(ValueError, match="different number of parameter groups"):
        optimizer.load_state_dict(two.state_dict())
    with pytest.raises(ValueError, match="doesn't match the size"):
        optimizer.load_state_dict(optim.SGD(params[:1]).state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_closure():
    (p,) = parameters([2.0])
    optimizer = optim.SGD([p], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with fs.no_grad():
        assert optimizer.step(closure).item() == 4.0
    assert p.item() == 1.0


def test_tensor_rates():
    (p,), (q,) = parameters([1.0]), parameters([1.0])
    rate = fs.tensor(0.5)
    by_tensor, by_float = optim.AdamW([p], lr=rate), optim.AdamW([q], lr=0.5)
    schedule = schedules.ExponentialLR(by_tensor, 0.5)
    for optimizer, x in ((by_tensor, p), (by_float, q)):
        x.grad = fs.ones(1)
        optimizer.step()
    schedule.step()
    assert p.item() == q.item() and rate.item() == 0.25
    with pytest.raises(ValueError, match="1-element"):
        optim.SGD([p], lr=fs.ones(2))


def test_hooks():
    (p,) = parameters([1.0])
    optimizer = optim.SGD([p], lr=0.1)
    seen = []
    handles = [
        optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append("before")),
        optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append("after")),
        optimizer.register_state_dict_pre_hook(lambda o: seen.append("saving")),
        optimizer.register_state_dict_post_hook(lambda o, state: {**state, "more": 1}),
        optimizer.register_load_state_dict_pre_hook(lambda o, state: seen.append("loading")),
        optimizer.register_load_state_dict_post_hook(lambda o: seen.append("loaded")),
        optim.optimizer.register_optimizer_step_pre_hook(lambda o, args, kwargs: seen.append("any")),
    ]
    p.grad = fs.ones(1)
    optimizer.step()
    state = optimizer.state_dict()
    optimizer.load_state_dict(state)
    assert state["more"] == 1
    assert seen == ["any", "before", "after", "saving", "loading", "loaded"]
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert len(seen) == 6
    with optimizer.register_step_pre_hook(lambda o, args, kwargs: 5), pytest.raises(RuntimeError, match="must return"):
        optimizer.step()


def test_an_optimizer_of_ones_own():
    class Sign(optim.Optimizer):
        def __init__(self, params, lr=0.1):
            super().__init__(params, {"lr": lr})

        def step(self, closure=None):
            with fs.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        p -= group["lr"] * p.grad.sign()

    (p,) = parameters([1.0, -1.0])
    optimizer = Sign([p], lr=0.5)
    schedule = schedules.StepLR(optimizer, 1)
    called = []
    optimizer.register_step_post_hook(lambda *_: called.append(1))
    p.grad = fs.tensor([3.0, -3.0])
    optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule.step()
    assert p.tolist() == [0.5, -0.5] and called == [1]
    with pytest.raises(NotImplementedError):
        optim.Optimizer([p], {}).step()


def test_unsupported_options_are_explained():
    (p,) = parameters([1.0])
    with pytest.raises(NotImplementedError, match="differentiable=True is not supported"):
        optim.Adam([p], differentiable=True)
    optim.Adam([p], foreach=True, capturable=True)
    optim.SGD([p], fused=True)


# Schedules


def optimizer_with(lr=1.0):
    return optim.SGD(parameters([1.0]), lr=lr)


def test_order_of_steps_is_watched():
    optimizer = optimizer_with()
    schedule = schedules.StepLR(optimizer, 1)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        schedule.step()
    optimizer = optimizer_with()
    schedule = schedules.StepLR(optimizer, 1)
    optimizer.step = lambda: None
    with pytest.warns(UserWarning, match="has been overridden"):
        schedule.step()
    with pytest.warns(UserWarning, match="get_last_lr"):
        schedule.get_lr()
    with pytest.warns(UserWarning, match="epoch parameter"):
        schedule.step(3)


@pytest.mark.parametrize(
    "make_schedule",
    [
        lambda o: schedules.StepLR(o, 2, 0.5),
        lambda o: schedules.MultiStepLR(o, [2, 4]),
        lambda o: schedules.LambdaLR(o, lambda step: 0.5**step),
        lambda o: schedules.OneCycleLR(o, 1.0, 10, cycle_momentum=False),
        lambda o: schedules.CyclicLR(o, 0.1, 1.0, 3, cycle_momentum=False),
        lambda o: schedules.CosineAnnealingWarmRestarts(o, 2, 2),
        lambda o: schedules.SequentialLR(o, [schedules.ConstantLR(o), schedules.ExponentialLR(o, 0.9)], [3]),
        lambda o: schedules.ChainedScheduler([schedules.StepLR(o, 2), schedules.ExponentialLR(o, 0.9)]),
    ],
)
def test_schedules_are_saved_and_go_on(make_schedule):
    optimizer, other = optimizer_with(), optimizer_with()
    schedule, resumed = make_schedule(optimizer), make_schedule(other)
    for _ in range(3):
        optimizer.step()
        schedule.step()
    resumed.load_state_dict(pickle.loads(pickle.dumps(schedule.state_dict())))
    other.load_state_dict(optimizer.state_dict())
    other.step()
    for _ in range(4):
        schedule.step()
        resumed.step()
        assert schedule.get_last_lr() == resumed.get_last_lr()
        assert optimizer.param_groups[0]["lr"] == other.param_groups[0]["lr"]


def test_refused_schedules():
    optimizer = optimizer_with()
    refused = [
        lambda: schedules.ConstantLR(optimizer, factor=2.0),
        lambda: schedules.LinearLR(optimizer, start_factor=0.0),
        lambda: schedules.LinearLR(optimizer, end_factor=2.0),
        lambda: schedules.LambdaLR(optimizer, [lambda step: 1.0] * 2),
        lambda: schedules.CosineAnnealingWarmRestarts(optimizer, 0),
        lambda: schedules.ReduceLROnPlateau(optimizer, factor=1.0),
        lambda: schedules.ReduceLROnPlateau(optimizer, mode="mean"),
        lambda: schedules.OneCycleLR(optimizer, 0.1),
        lambda: schedules.OneCycleLR(optimizer, 0.1, total_steps=0),
        lambda: schedules.OneCycleLR(optimizer, 0.1, total_steps=5, pct_start=2.0),
        lambda: schedules.CyclicLR(optimizer, 0.1, [0.2, 0.3]),
        lambda: schedules.CyclicLR(optim.Rprop(parameters([1.0])), 0.1, 0.2),
        lambda: schedules.SequentialLR(optimizer, [schedules.StepLR(optimizer, 1)], [1]),
        lambda: schedules.ChainedScheduler([]),
    ]
    for i, make_schedule in enumerate(refused):
        with pytest.raises(ValueError):
            make_schedule()
            pytest.fail(f"case {i} was accepted")
    with pytest.raises(TypeError, match="is not an Optimizer"):
        schedules.StepLR(3, 1)
    with pytest.raises(KeyError, match="initial_lr"):
        schedules.StepLR(optimizer_with(), 1, last_epoch=2)
    schedule = schedules.OneCycleLR(optimizer_with(), 0.1, total_steps=2, cycle_momentum=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schedule.step()
        schedule.step()
        with pytest.raises(ValueError, match="Tried to step 3 times"):
            schedule.step()
