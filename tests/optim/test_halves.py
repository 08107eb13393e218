"""Optimizers on half floats: each step is that of float32, rounded once."""

import numpy as np
import pytest
import ranvier as rv
from optim.problem import CASES, IDS, gradient, start
from ranvier import optim


@pytest.mark.parametrize("dtype", [rv.float16, rv.bfloat16])
@pytest.mark.parametrize(("name", "settings"), CASES, ids=IDS)
def test_a_step_of_halves_is_that_of_float32_rounded_once(name, settings, dtype):
    """The parameter and its state, beside a parameter of float32 in the same group."""
    p, other = rv.tensor(start()).to(dtype).requires_grad_(), rv.ones(1, requires_grad=True)
    optimizer = getattr(optim, name)([p, other], **settings)
    for step in range(4):
        twin = p.detach().float().requires_grad_()
        single = getattr(optim, name)([twin], **settings)
        if p in optimizer.state:
            kept = optimizer.state[p].items()
            single.state[twin] = {k: v.float() if v.dtype == dtype else v.clone() for k, v in kept}
        p.grad = rv.tensor(gradient(p.detach().float().numpy(), step)).to(dtype)
        twin.grad, other.grad = p.grad.float(), rv.ones(1)
        optimizer.step()
        single.step()
        assert (p.dtype, other.dtype) == (dtype, rv.float32)
        found = {"p": p, **optimizer.state[p]}
        for key, exact in {"p": twin, **single.state[twin]}.items():
            exact = exact.to(dtype) if exact.ndim else exact
            np.testing.assert_array_equal(found[key].detach().double(), exact.detach().double())
            assert found[key].dtype == exact.dtype
    loaded = getattr(optim, name)(
        [p.detach().clone().requires_grad_(), rv.ones(1, requires_grad=True)], **settings
    )
    loaded.load_state_dict(optimizer.state_dict())
    state = loaded.state[loaded.param_groups[0]["params"][0]]
    assert {k: (v.dtype, v.tolist()) for k, v in state.items()} == {
        k: (v.dtype, v.tolist()) for k, v in optimizer.state[p].items()
    }


LAYOUTS = (
    lambda x: x,
    lambda x: x.t().contiguous().t(),
    lambda x: rv.stack([x, x], 1)[:, 0],
)


@pytest.mark.parametrize("dtype", [rv.float16, rv.bfloat16])
@pytest.mark.parametrize(("name", "settings"), CASES, ids=IDS)
def test_blocks_and_layouts(name, settings, dtype, isa, rng):
    """Sizes around the blocks of 256 numbers, which become float32 together; any strides."""
    for shape in ((1, 0), (1, 1), (1, 255), (2, 128), (1, 257), (40, 17)):
        x, dy = (rv.tensor(rng.standard_normal(shape)).to(dtype) for _ in range(2))
        exact = x.float().requires_grad_()
        exact.grad = dy.float()
        getattr(optim, name)([exact], **settings).step()
        for layout in LAYOUTS:
            p = layout(x.clone()).requires_grad_()
            p.grad = dy.clone()
            getattr(optim, name)([p], **settings).step()
            np.testing.assert_array_equal(p.detach().float(), exact.detach().to(dtype).float())


def test_steps_of_parameters_that_share_memory():
    """Each is made, as of float32."""
    p = rv.ones(4, 4, dtype=rv.bfloat16, requires_grad=True)
    q = p.detach().t().requires_grad_()
    p.grad = q.grad = rv.ones(4, 4, dtype=rv.bfloat16)
    optim.SGD([p, q], lr=0.25).step()
    assert p.tolist() == [[0.5] * 4] * 4
