"""Copies of tensors that share memory, by copy.deepcopy, pickle and joblib: the copies share theirs."""

import copy
import io
import pickle

import numpy as np
import pytest
import ranvier as rv
from support.refused import refused

# Tensors that share memory, by names that the test compares.


def _transposed():
    x = rv.arange(6.0).reshape(2, 3).clone()
    return {"turned": x.mT, "x": x}


def _reshaped():
    x = rv.zeros(4)
    return {"x": x, "square": x.reshape(2, 2), "diagonal": x.reshape(2, 2).diagonal()}


def _without_base():
    a, b, *_ = rv.arange(4.0).unbind()
    return {"a": a, "b": b}


def _array_from_behind():
    x = rv.from_numpy(np.arange(8.0)[::-2])
    return {"x": x, "part": x[1:]}


def _detached():
    x = rv.ones(3, requires_grad=True)
    return {"x": x, "same": x.detach()}


def _by_data():
    x = rv.ones(3, requires_grad=True)
    return {"x": x, "part": x.data[1:]}


def _gradient():
    flat, p = rv.zeros(3), rv.ones(2, requires_grad=True)
    p.grad = flat[:2]
    return {"flat": flat, "p": p}


def _images():  # stored channels-last
    whole = rv.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=rv.channels_last).clone()
    return {"whole": whole, "row": whole[0, :, 1]}


def _data():
    flat, weight = rv.arange(6.0), rv.nn.Parameter(rv.zeros(2))
    weight.data = flat[1:3]  # as in programs that keep all parameters in one vector
    return {"flat": flat, "weight": weight}


def _module():
    model = rv.nn.Linear(2, 2)
    model.register_buffer("first", model.weight.detach()[0])
    return {"weight": model.weight, "first": model.first, "model": model}


def _of_one(*keys):
    def make():
        x = rv.arange(12.0).reshape(3, 4).clone()
        return {"x": x, **{str(key): x[key] for key in keys}}

    return make


SHARING = {
    "a part": _of_one(slice(1, 3)),
    "parts that overlap": _of_one(
        slice(0, 2), slice(1, 3), (slice(None), 2), (slice(None, None, 2), slice(1, 4, 2))
    ),
    "a transposed view first": _transposed,
    "another shape": _reshaped,
    "views without their base": _without_base,
    "an array from behind": _array_from_behind,
    "detach": _detached,
    "data": _by_data,
    "set data": _data,
    "gradients": _gradient,
    "images": _images,
    "a module": _module,
}


def by_pickle(protocol):
    return lambda x: pickle.loads(pickle.dumps(x, protocol))


def by_joblib(x):  # it writes an array each time that it meets it
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    file = io.BytesIO()
    joblib.dump(x, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize("again", [copy.deepcopy, by_pickle(2), by_pickle(5), by_joblib])
@pytest.mark.parametrize("name", SHARING)
def test_copies_keep_which_tensors_share_memory(name, again):
    """A change of one shows where it showed before the copy, and nowhere in the old ones."""
    old = SHARING[name]()
    new = again(old)

    def tensors(of):
        """By name: the Tensors without their history, and the gradients, which a pickle does not have."""
        leaves = {k: x for k, x in of.items() if isinstance(x, rv.Tensor)}
        gradients = {f"{k}.grad": x.grad for k, x in leaves.items() if x.grad is not None}
        return {k: x.detach() for k, x in (leaves | (gradients if again is copy.deepcopy else {})).items()}

    before, after = tensors(old), tensors(new)
    assert before.keys() == after.keys()
    for k, x in before.items():
        assert x.stride() == after[k].stride()
        assert x.tolist() == after[k].tolist()
        assert k not in old or old[k].requires_grad == new[k].requires_grad
    kept = {k: x.clone() for k, x in before.items()}
    for i, x in enumerate(after.values()):
        x.fill_(50.0 + i)
        assert all((before[k] == kept[k]).all() for k in kept)  # the old ones do not change
    for i, x in enumerate(before.values()):  # the same changes there give the same values in all
        x.fill_(50.0 + i)
    for k, x in before.items():
        assert x.tolist() == after[k].tolist(), k


def test_a_copy_counts_the_changes_of_its_memory():
    x = rv.arange(4.0)
    y, part = copy.deepcopy((x, x[:2]))
    w = rv.ones(2, requires_grad=True)
    product = (w * part).sum()
    y.fill_(9.0)
    refused(RuntimeError, "modified by an inplace", product.backward)


def test_a_view_that_has_its_memory_alone_is_copied_alone():
    with rv.no_grad():
        alone = rv.zeros(1000, 1000)[3]
    assert len(pickle.dumps(alone)) < 10_000
    assert copy.deepcopy(alone).storage_offset() == 0
