"""What depends on the inputs of a run that is written in another form is known, whatever computes it."""

import contextlib

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from ranvier.tape.calls import Calls, Refused
from support.calls import OPS
from support.run_call import call_of


class Followed(Calls):
    op = "test"

    def apply(self, run, function, *inputs):
        return run(*inputs)


def results(name, arrays):
    attributes = call_of("ops", name)[1]
    given = attributes.pop("*", ())
    given = given if isinstance(given, (tuple, list)) else (given,)
    rv.manual_seed(0)
    made = getattr(ops, name)(*arrays, *given, **attributes)
    made = made if isinstance(made, (tuple, list)) else (made,)
    return [y for y in made if isinstance(y, rv.Tensor) and y.numel()]


def others(x):
    """The numbers of an array in another order."""
    return np.flip(x).copy() if isinstance(x, np.ndarray) else [others(part) for part in x]


@pytest.mark.parametrize("name", OPS)
def test_results_vary_with_the_inputs(name):
    arrays = call_of("ops", name)[0]
    if not all(isinstance(x, np.ndarray) for x in arrays):
        arrays = [x for x in arrays if isinstance(x, np.ndarray)]
    try:
        with rv.no_grad():
            changed = [
                not np.array_equal(y.numpy(), z.numpy(), equal_nan=y.dtype.kind == "f")
                for y, z in zip(results(name, arrays), results(name, list(map(others, arrays))), strict=True)
            ]
    except (ValueError, IndexError, TypeError):
        pytest.skip("does not take other numbers")
    run, tensors = Followed(), [rv.tensor(x) for x in arrays]
    for x in tensors:
        run.see(x, "input")
    found = []
    with contextlib.suppress(Refused), rv.no_grad(), run:
        found = results(name, tensors)
    known = [run.find(y._array) is not None or run._recording.core.varies(y._array) for y in found]
    assert all(k or not c for k, c in zip(known, changed, strict=bool(found)))


def test_a_file_written_in_a_recorded_step(tmp_path):
    @rv.compile
    def step(x):
        y = x * 2
        rv.export.c(lambda x: x + 1, tmp_path / "net.c", np.ones(2, np.float32))
        return y + x

    with pytest.warns(UserWarning, match="runs eagerly"):
        assert step(rv.ones(2)).tolist() == [3.0, 3.0]
    for k in range(5):
        assert step(rv.full((2,), float(k))).tolist() == [3.0 * k] * 2
