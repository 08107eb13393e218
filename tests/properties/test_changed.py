"""An input or a result changed in place before backward gives the gradients of before, or is refused."""

import ranvier as rv
from support.tolerance import equal

from properties.every import every_op, gradients, lacking


def change(tensor):
    """Whether it could be changed: expanded memory is not written."""
    try:
        with rv.no_grad():
            tensor.copy_(tensor == 0 if tensor.dtype == rv.bool else 1 - tensor)
    except (RuntimeError, ValueError):
        return False
    return True


def compare(sample, create_graph):
    call = sample.tensors()
    ys = call()
    if not any(y.requires_grad for y in ys):
        return
    expected = gradients(ys, call.leaves, create_graph=create_graph)
    for k in range(len(call.inputs) + len(ys)):
        call = sample.tensors()
        ys = call()
        if change([*call.inputs, *ys][k]):
            try:
                found = gradients(ys, call.leaves, create_graph=create_graph)
            except RuntimeError as error:
                if "modified by an inplace operation" not in str(error):
                    raise
                continue
            for x, y in zip(found, expected, strict=True):
                equal(*(z.numpy(force=True) for z in (x, y)), f"input or result {k}")


@every_op({})
def test_changed(sample):
    compare(sample, create_graph=False)


@every_op(lacking("second"))
def test_changed_before_a_graph(sample):
    compare(sample, create_graph=True)
