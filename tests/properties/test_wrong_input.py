"""Each argument is spoiled in turn: an answer, or an error that says what it got; never what is never right."""

import ranvier as rv
from support.wrong_input import WRONG_ATTRIBUTES, attempt, describe, never_right, sent_back, wrong_arrays

from properties.every import every_op

LEAVES_OUT: dict[str, str] = {}
SAMPLES = 2  # the first ones of each op


@every_op(LEAVES_OUT, of=lambda sample: sample.error is None and sample.number < SAMPLES)
def test_wrong_input(sample):
    call = sample.tensors(rv.float32)
    arguments = [*enumerate(call.args), *call.settings.items()]
    for at, right in arguments:
        wrong = wrong_arrays(right.numpy(force=True)) if isinstance(right, rv.Tensor) else WRONG_ATTRIBUTES
        for value in wrong if not isinstance(right, rv.nn.Module) else ():
            args, settings = list(call.args), dict(call.settings)
            (args if isinstance(at, int) else settings)[at] = value
            never = never_right(value, None if isinstance(right, rv.Tensor) else right)
            run = lambda a=args, s=settings: sent_back(sample.op.function(*a, **s))  # noqa: E731
            attempt(run, f"{sample}, argument {at}: {describe(value)}", standard=True, never=never)
