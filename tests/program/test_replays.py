"""What a replay takes and gives: other forms of arguments, shared results, counted changes, copies."""

import numpy as np
import pytest
import ranvier as rv
from ranvier.program import compiled, record


def test_memory_maps_are_arguments_like_others(tmp_path):
    maps = []
    for i in range(3):
        maps.append(np.memmap(tmp_path / str(i), np.float32, "w+", shape=(2 + i,)))
        maps[i][:] = i + 1.0
    fast = rv.compile(lambda a, b: (a * 2, b + 1))
    for a, b in ((maps[0], maps[1]), (maps[0], maps[2]), (maps[1], maps[1])) * 2:
        twice, more = fast(a, b)
        np.testing.assert_array_equal(twice.numpy(), 2 * np.asarray(a))
        np.testing.assert_array_equal(more.numpy(), np.asarray(b) + 1)
    assert len(fast.programs) == 3


def test_a_tape_notices_a_replay_after_a_change_of_another_part():
    w = rv.nn.Parameter(rv.ones(3, 2))
    optimizer = rv.optim.SGD([w], lr=0.1)

    @rv.compile
    def train(x):
        optimizer.zero_grad()
        loss = (w * x).sum()
        loss.backward()
        optimizer.step()
        return loss

    x = rv.ones(3, 2)
    for _ in range(5):
        train(x)
    with rv.no_grad():
        w[0].mul_(2)
    loss = (w[1:] * w[1:]).sum()
    train(x)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x[:0, ::2],
        lambda x: x[:, ::2],
        lambda x: x.T[::3],
        lambda x: x[:, :0:2],
        lambda x: x[::2, :1],
    ],
)
def test_a_copy_of_an_argument_with_gaps_is_in_its_own_memory(make):
    x = make(np.arange(24, dtype=np.float32).reshape(4, 6))
    copied = record._copy(x)
    np.testing.assert_array_equal(copied, x)
    assert copied.strides == x.strides or copied.size == 0
    whole = copied
    while getattr(whole, "base", None) is not None:  # as_strided puts an object between
        whole = whole.base
    end = sum((n - 1) * stride for n, stride in zip(copied.shape, copied.strides, strict=True)) + 4
    assert copied.ctypes.data == whole.ctypes.data
    assert copied.size == 0 or end <= whole.nbytes


def test_a_check_can_be_requested(monkeypatch):
    recorded = []
    record = compiled.record
    monkeypatch.setattr(compiled, "record", lambda *args: recorded.append(1) or record(*args))
    x = np.ones(2, np.float32)
    for verify, checks in ((True, 1), (False, 0), (100, 0)):
        fast = rv.compile(lambda x: x * 2, verify=verify)
        for _ in range(3):
            fast(x)
        recorded.clear()
        fast.check_soon()  # too soon after the last one
        fast(x)
        assert not recorded or verify is True
        recorded.clear()
        fast._checked -= 1000
        fast.check_soon()
        fast(x)
        assert len(recorded) == checks


def test_a_list_among_the_arguments_is_changed_as_by_the_eager_step():
    def change(x, items, table):
        items.append(1.0)
        table["new"] = items[0]
        return x * 2

    items, table = [rv.ones(2)], {"old": rv.ones(2)}
    with pytest.raises(rv.CaptureError, match="changes a list or dict among its arguments"):
        rv.compile(change)(rv.ones(2), items, table)
    assert len(items) == 2
    assert list(table) == ["old", "new"]


@pytest.mark.parametrize("backwards", [1, 2])
def test_accumulated_gradients_are_replayed(backwards):
    w = rv.nn.Parameter(rv.ones(2))

    @rv.compile
    def step(x):
        for _ in range(backwards):
            (w * x).sum().backward()

    for i in range(1, 8):
        step(rv.ones(2))
        assert w.grad.tolist() == [float(i * backwards)] * 2
    assert len(step.programs) == 2  # the first call had no gradient to add to
    held = w.grad.detach()
    step(rv.ones(2))
    assert held.tolist() == [7.0 * backwards] * 2
    assert w.grad.tolist() == [8.0 * backwards] * 2


def test_programs_are_bounded_and_one_warning_names_the_argument():
    step, x = rv.compile(lambda x, n: x * n), rv.ones(2)
    with pytest.warns(UserWarning, match=r"argument 1 changes with nearly every call of <lambda>") as caught:
        found = [step(x, n).tolist() for n in range(80)]
    assert found == [[float(n)] * 2 for n in range(80)]
    assert len(caught) == 1
    assert 16 <= len(step.programs) <= 32


def test_an_argument_in_the_memory_of_a_parameter_is_refused():
    w = rv.nn.Parameter(rv.ones(2))
    optimizer = rv.optim.SGD([w], lr=0.1)

    @rv.compile
    def train(x):
        optimizer.zero_grad()
        (w * x).sum().backward()
        optimizer.step()

    with pytest.raises(rv.CaptureError, match="changes memory that one of its arguments shares"):
        train(w.detach())
    for _ in range(5):
        train(rv.ones(2))
    with pytest.raises(rv.CaptureError, match="changes memory that one of its arguments shares"):
        train(w.detach())
