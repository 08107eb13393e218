"""Optimizers step a parameter of a class with arithmetic in place of its own by the methods of that class."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import optim

START = np.array([0.25, -0.5, 0.75], np.float32)


class Recorded(rv.Tensor):
    """Its methods do what Tensor's do, and note their names."""

    calls = ()

    def add_(self, other, alpha=1):
        Recorded.calls += ("add_",)
        return super().add_(other, alpha=alpha)

    def mul_(self, other):
        Recorded.calls += ("mul_",)
        return super().mul_(other)

    def addcdiv_(self, tensor1, tensor2, value=1):
        Recorded.calls += ("addcdiv_",)
        return super().addcdiv_(tensor1, tensor2, value=value)

    def addcmul_(self, tensor1, tensor2, value=1):
        Recorded.calls += ("addcmul_",)
        return super().addcmul_(tensor1, tensor2, value=value)


class Angle(rv.Tensor):
    """A number on a circle: what is added is taken modulo 1."""

    def add_(self, other, alpha=1):
        return self.copy_((self.detach().numpy() + alpha * other.numpy()) % 1.0)


def of_class(kind, values):
    p = kind(np.array(values, np.float32))
    assert type(p) is kind
    return p.requires_grad_()


# the settings, and the methods that PyTorch's step calls
CASES = [
    (optim.SGD, {}, "add_"),
    (optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, "add_"),
    (optim.SGD, {"maximize": True, "weight_decay": 0.1}, "add_"),
    (optim.Adam, {"weight_decay": 0.1, "amsgrad": True}, "addcdiv_"),
    (optim.AdamW, {"weight_decay": 0.3}, "mul_ addcdiv_"),
    (optim.Adamax, {"weight_decay": 0.1}, "addcdiv_"),
    (optim.NAdam, {"weight_decay": 0.1}, "addcdiv_ addcdiv_"),
    (optim.NAdam, {"weight_decay": 0.1, "decoupled_weight_decay": True}, "mul_ addcdiv_ addcdiv_"),
    (optim.RAdam, {"weight_decay": 0.1, "decoupled_weight_decay": True}, "mul_ add_"),
    (optim.Adadelta, {"weight_decay": 0.1}, "add_"),
    (optim.Adagrad, {"weight_decay": 0.1, "maximize": True}, "addcdiv_"),
    (optim.RMSprop, {}, "addcdiv_"),
    (optim.RMSprop, {"momentum": 0.9, "centered": True}, "add_"),
    (optim.Rprop, {}, "addcmul_"),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{c[0].__name__}-{k}" for k, c in enumerate(CASES)])
def test_the_methods_of_the_class_are_called(case):
    """The results are those of a plain parameter in the same group, step by step."""
    make, settings, methods = case
    own = of_class(Recorded, START)
    plain = rv.tensor(START, requires_grad=True)
    optimizer = make([own, plain], lr=0.05, **settings)
    for _ in range(4):
        optimizer.zero_grad()
        for p in (own, plain):
            (p.detach() * p * rv.tensor([1.0, 2.0, -3.0])).sum().backward()
        Recorded.calls = ()
        optimizer.step()
        assert Recorded.calls == tuple(methods.split())
    np.testing.assert_allclose(own.detach().numpy(), plain.detach().numpy(), rtol=1e-6, atol=1e-6)
    assert optimizer.state[own].keys() == optimizer.state[plain].keys()
    assert len(optimizer.state) == 2


def test_the_class_decides_what_is_added():
    p = of_class(Angle, [0.25])
    optimizer = optim.SGD([p], lr=1.0)
    (p * 0.5).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(p.detach().numpy(), [0.75])


def test_lbfgs():
    p = of_class(Angle, [0.25])
    optimizer = optim.LBFGS([p], lr=1.0, max_iter=1)

    def loss():
        optimizer.zero_grad()
        y = (p * 0.5).sum()
        y.backward()
        return y

    optimizer.step(loss)
    np.testing.assert_allclose(p.detach().numpy(), [0.75])


def test_a_captured_step_is_eager():
    """A replay would not call the class's method."""
    p = of_class(Angle, [0.25])
    optimizer = optim.SGD([p], lr=1.0)

    @rv.compile
    def step():
        optimizer.zero_grad()
        (p * 0.3).sum().backward()
        optimizer.step()

    found = []
    for _ in range(6):
        if not found:
            with pytest.warns(UserWarning, match="an optimizer calls methods of Angle"):
                step()
        else:
            step()
        found.append(p.item())
    np.testing.assert_allclose(found, (0.25 - 0.3 * np.arange(1, 7)) % 1.0, atol=1e-6)


def test_asgd_refuses():
    p = of_class(Angle, [0.25])
    optimizer = optim.ASGD([p])
    (p * 0.5).sum().backward()
    with pytest.raises(ValueError, match=r"\[asgd\] got a parameter of class Angle"):
        optimizer.step()


def test_a_class_without_arithmetic_takes_the_kernel():
    """A subclass of Tensor without methods of its own is changed as a Tensor is."""

    class Named(rv.Tensor):
        pass

    p = of_class(Named, START)
    optimizer = optim.SGD([p], lr=0.5)
    (p * 0.5).sum().backward()
    optimizer.step()
    np.testing.assert_array_equal(p.detach().numpy(), START - 0.25)
    assert optimizer._plans[id(optimizer.param_groups[0])].by_class == []


class Late(rv.Tensor):
    """Its class gets a method of its own, and objects get another class, while steps are made."""


def tenth(self, other, alpha=1):
    return rv.Tensor.add_(self, other, alpha=0.1 * alpha)


@pytest.mark.parametrize("by", ["method", "class"])
def test_classes_that_change_between_steps(by, monkeypatch):
    p = of_class(Late, [1.0])
    optimizer = optim.SGD([p], lr=0.1)
    seen = []
    for number in range(6):
        if number == 2 and by == "method":
            monkeypatch.setattr(Late, "add_", tenth, raising=False)
        elif number == 2:
            p.__class__ = type("Tenth", (Late,), {"add_": tenth})
        elif number == 4 and by == "method":
            monkeypatch.undo()
        elif number == 4:
            p.__class__ = Late
        p.grad = rv.ones(1)
        optimizer.step()
        seen.append(p.item())
    np.testing.assert_allclose(seen, [0.9, 0.8, 0.79, 0.78, 0.68, 0.58], rtol=1e-5)
