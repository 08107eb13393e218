"""Runs a test on the samples of every op, and keeps which ops are tested.

A property is a test below `@every_op(LEAVES_OUT)`; its first argument is a sample. It makes Tensors of the
sample's arrays, `call = sample.tensors(dtype)`, calls the op, `ys = call()`, and compares. LEAVES_OUT names
ops for which it does not hold, with the reason; `lacking(word)` and `apart(word)` are those by their samples.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import ranvier as rv
from samples import OPS
from samples.sample import APART, LACKS, Op, Sample


def lacking(word: str) -> dict[str, str]:
    """For `every_op`: the ops that lack this, and why."""
    return dict.fromkeys([name for name, op in OPS.items() if word in op.lacks.split()], LACKS[word])


def apart(word: str) -> dict[str, str]:
    """For `every_op`: the ops whose answer is apart from PyTorch's there, and why."""
    return dict.fromkeys([name for name, op in OPS.items() if word in op.apart.split()], APART[word])


def lacks(sample: Sample, word: str) -> bool:
    return word in sample.op.lacks.split()


OF_ITS_DTYPE = {
    "rrelu RReLU gumbel_softmax bernoulli normal uniform_ normal_ random_": "draws others in float64"
}


class Property(NamedTuple):
    left_out: Mapping[str, str]  # the ops that its test leaves out, by name, and why
    only: Callable[[Op], Any]  # whether it makes sense for an op


PROPERTIES: dict[str, Property] = {}  # by the test's name without `test_`


def any_op(op: Op) -> bool:
    return True


def is_right(sample: Sample) -> bool:
    """True if the call is not refused."""
    return sample.error is None


def every_op(
    leaves_out: Mapping[str, str],
    only: Callable[[Op], Any] = any_op,
    of: Callable[[Sample], Any] = is_right,
) -> Callable[..., Any]:
    """The test runs on each sample of each op.

    leaves_out: names of ops, several in a text, and the reason why this property is not tested for them.
    only: the ops for which the property makes sense. of: the samples.
    """
    reasons = {name: reason for names, reason in leaves_out.items() for name in names.split()}

    def decorate(test: Callable[..., None]) -> Any:
        property_name = test.__name__.removeprefix("test_")
        PROPERTIES[property_name] = Property(reasons, only)

        @functools.wraps(test)
        def run(ops: Sequence[str], **fixtures: Any) -> None:
            __tracebackhide__ = True
            for name in ops:
                for sample in OPS[name].all_samples:
                    if of(sample) and property_name not in sample.left_out:
                        run_on(sample, test, fixtures)

        # pytest reads this signature: `ops` (conftest.py) in place of the sample, then the test's fixtures
        _, *fixtures = inspect.signature(test).parameters.values()
        keyword_only = inspect.Parameter.KEYWORD_ONLY
        parameters = [inspect.Parameter("ops", keyword_only)]
        parameters += [fixture.replace(kind=keyword_only) for fixture in fixtures]
        run.__signature__ = inspect.Signature(parameters)
        run.every_op = [name for name, op in OPS.items() if name not in reasons and only(op)]
        return run

    return decorate


def run_on(sample: Sample, test: Callable[..., None], fixtures: Mapping[str, Any]) -> None:
    __tracebackhide__ = True
    rv.manual_seed(0)
    try:
        test(sample, **fixtures)
    except BaseException:
        print("failed with", sample)  # pytest shows it below the traceback
        raise


def outside(names: Mapping[str, str]) -> Callable[[Op], bool]:
    """For `only`: the ops that are not named; another test has them."""
    named = {name for text in names for name in text.split()}

    def is_outside(op: Op) -> bool:
        return op.name not in named

    return is_outside


def has_halves(op: Op) -> bool:
    return "halves" not in op.lacks.split()


def is_smooth(sample: Sample) -> bool:
    return sample.error is None and sample.is_smooth


def is_first(sample: Sample) -> bool:
    """For `of`: the test runs once for each op, on all of `sample.op.samples`."""
    return sample is sample.op.samples[0]


def floats(tensors: list[Any]) -> list[Any]:
    return [y for y in tensors if y.is_floating_point()]


def gradients(ys: Sequence[Any], leaves: Sequence[Any], **settings: Any) -> Sequence[Any]:
    """The gradients of the sum of all results that have one, each times `weights_for(y, 1)`; else nothing."""
    moving = [y for y in ys if y.requires_grad]
    if not moving or not leaves:
        return ()
    weights = [weights_for(y, 1) for y in moving]
    return rv.autograd.grad(moving, leaves, weights, allow_unused=True, materialize_grads=True, **settings)


def weights_for(x: Any, seed: int) -> Any:
    """A gradient or a tangent for x: numbers from 0.5 to 1.5 that all dtypes have, the same at each call."""
    return _weights(tuple(x.shape), seed).to(x.dtype)


@functools.lru_cache(100)
def _weights(shape: tuple[int, ...], seed: int) -> Any:
    return rv.tensor(np.random.default_rng(seed).uniform(0.5, 1.5, shape)).bfloat16()
