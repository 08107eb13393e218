"""What a replay takes and gives: other forms of arguments, shared results, counted changes, copies."""

import types

import numpy as np
import pytest
import ranvier as rv
from ranvier.compile import arguments, cache, compiled
from support.strict import strict


def test_memory_maps_are_arguments_like_others(tmp_path):
    maps = []
    for i in range(3):
        maps.append(np.memmap(tmp_path / str(i), np.float32, "w+", shape=(2 + i,)))
        maps[i][:] = i + 1.0
    fast = strict(lambda a, b: (rv.neg(a), rv.exp(b)))
    for a, b in ((maps[0], maps[1]), (maps[0], maps[2]), (maps[1], maps[1])) * 2:
        negative, more = fast(a, b)
        np.testing.assert_array_equal(negative.numpy(), -np.asarray(a))
        np.testing.assert_array_equal(more.numpy(), rv.exp(rv.tensor(b)).numpy())
    assert len(fast.programs) == 3


def test_a_tape_notices_a_replay_after_a_change_of_another_part():
    w = rv.nn.Parameter(rv.ones(3, 2))
    optimizer = rv.optim.SGD([w], lr=0.1)

    @strict
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
    copied = arguments.copied(x)
    np.testing.assert_array_equal(copied, x)
    assert copied.strides == x.strides or copied.size == 0
    whole = copied
    while getattr(whole, "base", None) is not None:  # as_strided puts an object between
        whole = whole.base
    end = sum((n - 1) * stride for n, stride in zip(copied.shape, copied.strides, strict=True)) + 4
    assert copied.ctypes.data == whole.ctypes.data
    assert copied.size == 0 or end <= whole.nbytes


@pytest.mark.parametrize(
    "function",
    [
        lambda x: rv.tensor(x) * 2,
        lambda x: rv.tensor(x, dtype=rv.float64).sum(),
        lambda x: rv.tensor(x, dtype=rv.int64) * 2,
        lambda x: x * rv.tensor([1.0, 2.0, 3.0]),
        lambda x: x * rv.tensor([[1], [2], [3], [4]]),
        lambda x: x * rv.as_tensor([1.0, 2.0, 3.0]),
        lambda x: x[rv.arange(4), rv.tensor([0, 1, 2, 0])],
        lambda x: x * rv.tensor([True, False, True]),
        lambda x: x + rv.constant(np.full(3, 2, np.float32)),
        lambda x: added(rv.tensor([0.0, 0.0, 0.0]), x),
        lambda x: added(rv.tensor([1, 2, 3]), x),
        lambda x: x.long().clone(),
        lambda x: (x > 1).clone(),
    ],
)
def test_tensors_made_inside_a_step(function):
    step = strict(function)
    for number in range(1, 7):
        x = rv.full((4, 3), float(number))
        found, expected = step(x), function(x)
        assert (found.dtype, found.tolist()) == (expected.dtype, expected.tolist())


def added(total, x):
    total += x.sum(0).to(total.dtype)
    return total * 1


def test_a_check_can_be_requested(monkeypatch):
    recorded = []
    record = compiled.record
    monkeypatch.setattr(compiled, "record", lambda *args, **more: recorded.append(1) or record(*args, **more))
    x = rv.ones(2)
    for verify, checks in ((True, 1), (False, 0), (100, 0)):
        fast = strict(lambda x: x * 2, verify=verify)
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
    with pytest.raises(rv.CaptureError, match="changes a list, dict, array or Tensor among its arguments"):
        strict(change)(rv.ones(2), items, table)
    assert len(items) == 2
    assert list(table) == ["old", "new"]


@pytest.mark.parametrize("backwards", [1, 2])
def test_accumulated_gradients_are_replayed(backwards):
    w = rv.nn.Parameter(rv.ones(2))

    @strict
    def step(x):
        for _ in range(backwards):
            (w * x).sum().backward()

    for i in range(1, 8):
        step(rv.ones(2))
        assert w.grad.tolist() == [float(i * backwards)] * 2
    assert len(step.programs) == 2  # the first call had no gradient to add to
    held = w.grad.detach()
    for i in range(8, 11):
        step(rv.ones(2))
        assert held.tolist() == w.grad.tolist() == [float(i * backwards)] * 2


def test_one_warning_names_the_argument_that_changes():
    step, x = strict(lambda x, n: x * n), rv.ones(2)
    with pytest.warns(UserWarning, match=r"changes of argument 1 come too often") as caught:
        found = [step(x, n).tolist() for n in range(80)]
    assert found == [[float(n)] * 2 for n in range(80)]
    assert len(caught) == 1
    assert len(step.programs) == 4


@pytest.mark.filterwarnings("ignore:.compile. .*changes of argument 0 come too often")
def test_the_fifth_signature_is_recorded_when_it_comes_back():
    step = strict(lambda x: x * 2)
    for n in range(1, 6):
        step(rv.ones(n))
    assert len(step.programs) == 4
    step(rv.ones(5))
    assert len(step.programs) == 5
    for n in range(6, 60):
        step(rv.ones(n))
        step(rv.ones(n))
    assert len(step.programs) < 8  # none of them has paid


def test_the_memory_of_all_programs_is_bounded(monkeypatch):
    step = strict(lambda x: x * 2)
    for n in (2, 3, 4):
        step(rv.ones(n))
    assert len(step.programs) == 3
    monkeypatch.setattr(cache, "_MEMORY", 0)
    step(rv.ones(5))
    assert len(step.programs) == 1


def test_the_program_that_was_used_longest_ago_is_dropped(monkeypatch):
    monkeypatch.setattr(cache, "_MEMORY", 5 * cache._OVERHEAD // 2)  # two programs
    step = strict(lambda x: x * 2)
    for n in (2, 2, 3, 3, 2, 4):
        step(rv.ones(n))
    assert [program.buffers[0].bytes for program in step.programs] == [8, 16]


def test_four_programs_of_one_signature():
    held = types.SimpleNamespace(factor=0.0)
    step = strict(lambda x: x * held.factor)
    for held.factor in (1.0, 2.0, 3.0, 4.0, 5.0) * 3:
        assert step(rv.ones(2)).tolist() == [held.factor] * 2
    assert len(step.programs) == 4


def test_an_argument_in_the_memory_of_a_parameter():
    def made(wrap):
        w = rv.nn.Parameter(rv.ones(2))
        optimizer = rv.optim.SGD([w], lr=0.1)

        @wrap
        def train(x):
            optimizer.zero_grad()
            (w * x).sum().backward()
            optimizer.step()

        return w, train

    (w, train), (v, eager) = made(strict), made(lambda step: step)
    with pytest.raises(rv.CaptureError, match="changes memory of one of its arguments"):
        train(w.detach())
    eager(v.detach())
    for _ in range(5):
        train(rv.ones(2)), eager(rv.ones(2))
    train(w.detach()), eager(v.detach())  # no replay: the step itself
    assert w.tolist() == v.tolist()


def test_the_stream_that_a_step_draws_from_is_that_of_the_call():
    drop, x = rv.nn.Dropout(0.5), rv.ones(8)

    def step(x):
        return drop(x) * 1

    def drawn(step):
        a, b = (rv.Generator().manual_seed(seed) for seed in (1, 2))
        found = []
        for generator in (a, a, a, a, b, b, a, b):
            with rv.random.using(generator):
                found.append(step(x).tolist())
        return found

    assert drawn(rv.compile(step, strict=True)) == drawn(step)


@pytest.mark.parametrize("view", [lambda g: g, lambda g: g.detach(), lambda g: g.view(-1)[1:]])
def test_a_gradient_among_the_results_is_that_of_the_leaf(view):
    """What the caller does to it, the next statement finds in the leaf, after a check, too."""
    w = rv.nn.Parameter(rv.ones(3, 2))

    @strict
    def gradient(x):
        w.grad = None
        (w * x).sum().backward()
        return view(w.grad), w.detach()

    for i in range(9):
        x = rv.full((3, 2), i + 1.0)
        found, data = gradient(x)
        assert (found is w.grad) == (view(w.grad) is w.grad)
        found.zero_()
        expected = x.clone()
        view(expected).zero_()
        np.testing.assert_array_equal(w.grad.numpy(), expected.numpy())
        assert not data.requires_grad
        data.requires_grad_()
    assert len(gradient.programs) == 2  # one for the first call, which finds no gradient


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda z: ([z], [z]), None),
        (lambda z: (lambda both: (both, both))([z]), "the same list in two places"),
        (lambda z: (lambda both: {"a": both, "b": [both]})({"z": z}), "the same dict in two places"),
        (lambda z: z.requires_grad_(), "a leaf that it has made"),
    ],
)
def test_results_that_only_the_step_can_make(make, reason):
    step = strict(lambda x: make((x * 2).detach()))
    if reason is None:
        step(rv.ones(3))
        return
    with pytest.raises(rv.CaptureError, match=reason):
        step(rv.ones(3))


def test_a_gradient_is_the_one_of_the_call():
    p, x = rv.ones(3, requires_grad=True), rv.ones(3)
    p.grad = rv.ones(3)
    step = strict(lambda x: (x * 2, p.grad))
    for value in (1.0, 1.0, 1.0, 7.0, 8.0):
        p.grad = rv.full((3,), value)
        assert step(x)[1] is p.grad
    p.grad = None
    assert step(x)[1] is None


def test_views_of_one_result_count_its_changes_together():
    step = strict(lambda x: (lambda y: (y, y.view(-1)))(x * 2))
    w = rv.ones(3, requires_grad=True)
    for _ in range(4):
        y, view = step(rv.ones(3))
        loss = (view * w).sum()
        y.add_(100.0)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()
