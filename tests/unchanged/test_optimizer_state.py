"""The state of optimizers where this library is in place of PyTorch: Tensors, which programs change."""

import numpy as np
import pytest
import ranvier as rv
from support.python import printed

PROGRAM = """
import copy, pickle, sys
import torch
from torch import nn, optim

p = nn.Parameter(torch.zeros(3))
adam = optim.Adam([p], lr=0.1)
p.grad = torch.ones(3)
adam.step()
state = adam.state[p]
assert all(torch.is_tensor(value) for value in state.values()), state
assert state["exp_avg"].shape == torch.Size([3]) and state["step"].item() == 1

for value in state.values():  # programs restart an optimizer so
    value.zero_()
p.data.zero_()
adam.step()
torch.testing.assert_close(p.data, torch.full((3,), -0.1))

sgd = optim.SGD([p], lr=1.0, momentum=0.5)
sgd.step()
momentum = sgd.state[p]["momentum_buffer"]
momentum.fill_(4.0)
p.data.zero_()
sgd.step()
assert p.tolist() == [-3.0] * 3 and momentum.tolist() == [3.0] * 3, (p, momentum)
sgd.state[p]["momentum_buffer"] = torch.ones(3, dtype=torch.float64)  # another dtype
sgd.step()
assert p.tolist() == [-4.5] * 3, p
sgd.state[p]["momentum_buffer"].data = torch.full((3,), 2.0)
sgd.step()
assert p.tolist() == [-6.5] * 3, p

for again in (copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))):
    q, other = again((p, sgd))
    q.grad = torch.ones(3)
    other.step()
    assert q.tolist() == [-8.5] * 3 and p.tolist() == [-6.5] * 3, (q, p)

saved = copy.deepcopy(sgd.state_dict())
assert torch.is_tensor(saved["state"][0]["momentum_buffer"])
sgd.step()
held = sgd.state[p]["momentum_buffer"]
sgd.load_state_dict(saved)
assert held.tolist() == [2.0] * 3 and saved["state"][0]["momentum_buffer"].tolist() == [2.0] * 3

step = torch.compile(lambda: sgd.step())
for _ in range(4):
    p.data.zero_()
    sgd.state[p]["momentum_buffer"].fill_(2.0)
    step()
    assert p.tolist() == [-2.0] * 3, p
torch.save(adam.state_dict(), sys.argv[1])
"""


def test_state_is_of_tensors(tmp_path):
    file = tmp_path / "adam.pt"
    (tmp_path / "program.py").write_text(PROGRAM)
    printed("-m", "ranvier.torch", tmp_path / "program.py", file)
    state = rv.load(file)["state"][0]
    assert state["step"].dtype == rv.float32  # as PyTorch's
    np.testing.assert_allclose(state["exp_avg"].numpy(), 0.1, rtol=1e-6)


KINDS = {c for c in vars(rv.optim).values() if isinstance(c, type)} - {rv.optim.Optimizer}
USES = [(kind, {}) for kind in KINDS if issubclass(kind, rv.optim.Optimizer)]
USES += [(rv.optim.SGD, {"momentum": 0.9}), (rv.optim.RMSprop, {"momentum": 0.9, "centered": True})]
USES += [(rv.optim.Adam, {"amsgrad": True}), (rv.optim.LBFGS, {"line_search_fn": "strong_wolfe"})]


@pytest.mark.parametrize(("kind", "settings"), sorted(USES, key=str))
def test_state_is_of_tensors_by_every_name(kind, settings):
    p = rv.nn.Parameter(rv.ones(3))
    optimizer = kind([p], **settings)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum() + p[0] ** 4
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
    saved = optimizer.state_dict()["state"].get(0, {})
    if kind is rv.optim.SGD:
        assert list(saved) == ["momentum_buffer"] * len(settings)
    for state in (optimizer.state[p], saved):
        for key, value in state.items():
            for entry in value if isinstance(value, list) else [value]:
                plain = kind is rv.optim.LBFGS and key in ("func_evals", "n_iter", "t", "prev_loss")
                assert type(entry) is (type(entry) if plain else rv.Tensor), (key, type(entry))


def test_a_captured_step_sees_changes_of_the_state():
    p = rv.nn.Parameter(rv.zeros(3))
    sgd = rv.optim.SGD([p], lr=1.0, momentum=0.5)
    p.grad = rv.ones(3)
    step = rv.compile(sgd.step)
    changes = [
        lambda state: state["momentum_buffer"].fill_(2.0),
        lambda state: state.update(momentum_buffer=rv.full((3,), 2.0)),
        lambda state: state.update(momentum_buffer=np.full(3, 2.0)),
        lambda state: setattr(state["momentum_buffer"], "data", rv.full((3,), 2.0)),
    ]
    for change in [*changes * 3, *[changes[0]] * 12]:
        step()
        p.data.zero_()
        change(sgd.state[p])
        step()
        assert p.tolist() == [-2.0] * 3
