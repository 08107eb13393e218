"""With another default dtype, results have the dtypes that PyTorch's have then, and new layers have it."""

import contextlib

import ranvier as rv
from ranvier.nn.arguments import arguments_of

from properties.every import every_op
from properties.test_pytorch import answer, is_compared, is_function

LEAVES_OUT = {"hypot logaddexp nextafter": "PyTorch has none of integers"}
OTHER_LAYERS = {"Sequential Transformer": "are made of layers"}


@contextlib.contextmanager
def float64_is_default(*libraries):
    for library in libraries:
        library.set_default_dtype(library.float64)
    try:
        yield
    finally:
        for library in libraries:
            library.set_default_dtype(library.float32)


def dtypes(tensors):
    return [str(x.dtype) for x in tensors]


@every_op(LEAVES_OUT, only=is_function, of=is_compared)
def test_default_dtype(sample, torch):
    with float64_is_default(rv, torch):
        call = sample.tensors(rv.float32)
        try:
            theirs, _ = answer(torch, call)
        except NotImplementedError:
            return  # PyTorch has no such op of bools
        assert dtypes(call()) == dtypes(theirs)


@every_op(OTHER_LAYERS, only=lambda op: op.name[0].isupper(), of=lambda sample: sample.is_layer)
def test_default_dtype_of_layers(sample):
    layer = sample.args[0]
    settings = arguments_of(layer)
    with float64_is_default(rv):
        made = type(layer)(**settings).state_dict()
    widened = [rv.float64 if x.is_floating_point() else x.dtype for x in layer.state_dict().values()]
    assert [x.dtype for x in made.values()] == widened
