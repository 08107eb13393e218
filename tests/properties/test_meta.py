"""On the device "meta" results and gradients have the shapes, strides and dtypes of a call with numbers.

In a block of the device, calls with Tensors that have numbers give numbers.
"""

import json
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import ranvier as rv
from ranvier import nn
from samples.sample import swapped
from support.python import printed

from properties.every import every_op, floats
from properties.test_pytorch import counterpart

LEAVES_OUT = {
    "getitem setitem": "are Python's",
    """
    argwhere nonzero masked_select bincount unique unique_consecutive repeat_interleave
    """: "the shape is in the values",
    "fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_rfft2": "PyTorch's has complex numbers",
    "tril_indices triu_indices logspace scalar_tensor normal": "has no tensor that says its device",
}
OF_THE_BLOCK = {"tril_indices triu_indices logspace scalar_tensor new_tensor": "is made where the block says"}


def about(y):
    return None if y is None else (tuple(y.shape), y.stride(), str(y.dtype), y.requires_grad)


def outcome(call):
    """Shapes and dtypes of results, of changed arguments, and of gradients."""
    ys = call()
    for y in floats(ys):
        if y.requires_grad:
            y.sum().backward(retain_graph=True)
    return [*ys, *call.states, *(x.grad for x in call.leaves)]


def on_meta(call):
    """The same Call, changed in place: its Tensors and its layer are on the device.

    `states` and `leaves` keep the order of `Sample.tensors`, in which `outcome` compares them: the parameters
    of a layer come first, since it is the first argument, and its buffers are the only states. `to` may
    replace both, so they are read anew.
    """
    old = [*call.inputs, *call.states, *call.leaves]
    places = {id(x): x.detach().to("meta").requires_grad_(x.requires_grad) for x in old}
    modules = [x for x in call.args if isinstance(x, nn.Module)]
    call.args, call.settings = swapped(call.args, places), swapped(call.settings, places)
    call.states = [places[id(x)] for x in call.states]
    call.leaves = [places[id(x)] for x in call.leaves if not isinstance(x, nn.Parameter)]
    for module in modules:
        module.to("meta")
        call.leaves = [*module.parameters(), *call.leaves]
        call.states = [*module.buffers()]
    return call


def difference(sample):
    expected = [*map(about, outcome(sample.tensors(rv.float32)))]
    found = outcome(on_meta(sample.tensors(rv.float32)))
    if [*map(about, found)] != expected:
        return f"{[*map(about, found)]}, not {expected}"
    return "" if all(y is None or y.is_meta for y in found) else "a result with numbers"


def without_numbers(sample):
    call = sample.tensors(rv.float32)
    with rv.device("meta"):
        return "a result without numbers" if any(y.is_meta for y in call()) else ""


@cache
def differences():
    """By sample, a text for each test, from one process in which this library runs in place of PyTorch.

    Only such a process has the device (`makers` in ranvier/torch/attached.py). The mode changes classes of
    the library for good, so it is not that of the tests; one start serves all samples.
    """
    return json.loads(printed("-m", "ranvier.torch", __file__))


@every_op(LEAVES_OUT)
def test_meta(sample):
    assert differences()[str(sample)][0] == ""


@every_op(OF_THE_BLOCK)
def test_beside_meta(sample):
    assert differences()[str(sample)][1] == ""


def called_as_torchs(op, torch):
    """Call the op by PyTorch's name: this function asks the class of its arguments first (`Meta`), and the
    library's own does not. An op without such a name (AttributeError) stays as it is."""
    with suppress(AttributeError):
        op.function = counterpart(torch, op)


if __name__ == "__main__":
    import torch
    from samples import OPS

    for op in OPS.values():
        if not op.name[0].isupper():  # a layer is the argument itself
            called_as_torchs(op, torch)

    def answer(test, sample):
        try:
            return test(sample)
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    tests, every = (difference, without_numbers), [sample for op in OPS.values() for sample in op.samples]
    print(json.dumps({str(sample): [answer(test, sample) for test in tests] for sample in every}))
