"""Errors that depend on the values of an array: a compiled step raises what the eager step raises, and leaves
what that leaves."""

import copy

import numpy as np
import pytest
import ranvier as rv
from compile.distribution_rows import DISTRIBUTIONS
from ranvier import nn
from ranvier.compile import compiled
from ranvier.compile.batches import Batches
from ranvier.nn import functional as F
from support.strict import strict

CALLS = 14


class Training:
    """A step that changes statistics, random numbers, gradients, parameters and the optimizer's state."""

    bad_calls = 3, 8, 12  # replays, and a check between them
    programs = 1

    def __init__(self, loss):
        self.loss = loss
        self.model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 3))
        self.optimizer = rv.optim.Adam(self.model.parameters(), lr=0.05)

    def step(self, x, value):
        self.optimizer.zero_grad()
        return self.update(x, value)

    def update(self, x, value):
        loss = self.loss(self.model(x), value)
        loss.backward()
        self.optimizer.step()
        return loss


class Accumulating(Training):
    """Gradients are added to those of the call before; the check comes after the first of two backward."""

    bad_calls = 4, 9, 12  # the second call is recorded anew, since it finds gradients
    programs = 2

    def step(self, x, value):
        self.model(x).square().mean().backward()
        none = self.model[0].weight.detach().sum() * 0  # so that the value is made after that
        return self.update(x, value + none.to(value.dtype))


class AfterUpdate(Training):
    """A second check comes after an update, and reads what that has changed."""

    def step(self, x, value):
        self.optimizer.zero_grad()
        F.binary_cross_entropy(self.model(x).sigmoid(), rv.full((4, 3), 0.5)).backward()
        self.optimizer.step()
        none = self.model[0].weight.detach().sum() * 0
        return self.update(x, value + none.to(value.dtype))


class Predicting(Training):
    """Without a tape: part of the program is prepared."""

    def step(self, x, value):
        self.model.eval()
        with rv.no_grad():
            return self.loss(self.model(x), value)


def of_class(loss):
    return lambda out, value: loss(out, value)


def of_picked(pick):
    return lambda out, value: pick(out, value).float().square().mean()


def bce(out, value):
    return F.binary_cross_entropy(value + 0 * out[:, 0].sigmoid(), rv.full((4,), 0.5))


def bce_of_both(out, value):
    """The same values are checked twice, and then others."""
    p = value + 0 * out[:, 0].sigmoid()
    first = F.binary_cross_entropy(p, rv.full((4,), 0.5))
    return first + F.binary_cross_entropy(1 - p.double(), rv.full((4,), 0.5, dtype=rv.float64)).float()


def pooled(out, value):
    return out.mean() * F.max_pool2d(value.reshape(1, 1, 2, 2), 2).float().mean()


def whole_fill(out, value):
    return out.mean() + rv.masked_fill((out * 5).long(), out > 0, value[1]).float().mean()


def multilabel(out, i):
    return F.multilabel_margin_loss(out, (out * 0).detach().long() + i[:, None])


def changed(out, i):
    y = out.detach().clone()
    y[i] = 0.0
    return out * y


def i64(*values):
    return np.array(values, np.int64)


def f32(*values):
    return np.array(values, np.float32)


GOOD, LARGE, NEGATIVE = i64(0, 2, 1, 0), i64(0, 7, 1, 0), i64(0, -1, 1, 0)
SHARES, ABOVE, NAN = f32(0, 0.5, 1, 0.25), f32(0, 0.5, 1.5, 0.25), f32(0, np.nan, 1, 0.25)

CHECKS = [
    ("cross_entropy", of_class(F.cross_entropy), GOOD, LARGE),
    ("int32 labels", of_class(F.cross_entropy), GOOD.astype(np.int32), NEGATIVE.astype(np.int32)),
    ("nll_loss", of_class(F.nll_loss), GOOD, LARGE),
    ("multi_margin_loss", of_class(F.multi_margin_loss), GOOD, NEGATIVE),
    ("embedding", of_picked(lambda out, i: F.embedding(i, out)), GOOD, LARGE),
    ("gather", of_picked(lambda out, i: rv.gather(out, 1, i[:, None])), GOOD, NEGATIVE),
    ("take_along_dim", of_picked(lambda out, i: rv.take_along_dim(out, i[:, None], 1)), GOOD, LARGE),
    ("index_select", of_picked(lambda out, i: rv.index_select(out, 0, i)), GOOD, LARGE),
    ("index_add", of_picked(lambda out, i: rv.index_add(out, 0, i, out)), GOOD, NEGATIVE),
    ("scatter", of_picked(lambda out, i: rv.scatter(out, 1, i[:, None], out)), GOOD, NEGATIVE),
    ("scatter_add", of_picked(lambda out, i: rv.scatter_add(out, 1, i[:, None], out)), GOOD, LARGE),
    ("rows", of_picked(lambda out, i: out[i]), GOOD, LARGE),
    ("pairs", of_picked(lambda out, i: out[i, i]), GOOD, i64(0, 3, 1, 0)),  # row 3 exists, column 3 does not
    ("pairs from the end", of_picked(lambda out, i: out[i, i]), GOOD, i64(0, -4, 1, 0)),
    ("one_hot", of_picked(lambda out, i: out * F.one_hot(i, 3)), GOOD, LARGE),
    (
        "one_hot of int32",
        of_picked(lambda out, i: out * F.one_hot(i, 3)),
        GOOD.astype(np.int32),
        NEGATIVE.astype(np.int32),
    ),
    ("binary_cross_entropy", bce, SHARES, ABOVE),
    ("binary_cross_entropy of NaN", bce, SHARES, NAN),
    ("two binary_cross_entropy", bce_of_both, SHARES, ABOVE),
    ("max_pool2d of integers", pooled, GOOD, i64(0, 0, 2**60, 0)),
    # NumPy finds these
    ("whole division", of_picked(lambda out, i: out[:, 0] * (GOOD_TENSOR // (i + 1))), GOOD, NEGATIVE),
    ("put", of_picked(lambda out, i: rv.put(out, i, out[:, 0])), GOOD, i64(0, 12, 1, 0)),
    ("index_copy", of_picked(lambda out, i: rv.index_copy(out, 0, i, out)), GOOD, NEGATIVE),
    ("gather of integers", of_picked(lambda out, i: out[:, 0] * GOOD_TENSOR.gather(0, i)), GOOD, LARGE),
    ("places of integers", of_picked(lambda out, i: out[:, 0] * GOOD_TENSOR[i]), GOOD, LARGE),
    ("multilabel_margin_loss", multilabel, GOOD, LARGE),
    (
        "cholesky",
        of_picked(lambda out, p: out[:2] * rv.linalg.cholesky(p[1] * rv.eye(2))[:, :1]),
        SHARES,
        f32(0, -1, 1, 0),
    ),
    ("places to change", of_picked(changed), GOOD, LARGE),
    ("masked_fill of integers", whole_fill, SHARES, f32(0, np.inf, 0, 0)),
    *DISTRIBUTIONS,
]
GOOD_TENSOR = rv.tensor(GOOD)
BY_NAME = {name: rest for name, *rest in CHECKS}
STEPS = [(Training, name) for name in BY_NAME] + [
    (kind, name)
    for kind in (Accumulating, AfterUpdate, Predicting)
    for name in (
        "cross_entropy", "pairs", "one_hot", "binary_cross_entropy", "binary_cross_entropy of NaN", "put",
        "scale of Normal", "probs of Categorical",
        "whole division", "places to change",
    )
]  # fmt: skip


def bits(x):
    """Values that can be compared; of Tensors their dtype, shape and bytes."""
    if isinstance(x, dict):
        return {key: bits(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [bits(value) for value in x]
    array = x.detach().numpy() if isinstance(x, rv.Tensor) else x
    return (array.dtype.str, array.shape, array.tobytes()) if isinstance(array, np.ndarray) else array


def state(s):
    """All that a step can change."""
    gradients = [p.grad for p in s.model.parameters()]
    return bits([s.model.state_dict(), gradients, s.optimizer.state_dict(), rv.get_rng_state()])


def outcome(step, *arguments):
    try:
        return bits(step(*map(rv.tensor, arguments)))
    except (ValueError, IndexError) as error:
        return type(error), str(error)


@pytest.fixture
def eager_calls(monkeypatch):
    """Grows at each call that a compiled function runs eagerly, without recording or checking it."""
    calls, eager = [], compiled.CompiledFunction._eager

    def counted(self, *arguments):
        calls.append(arguments)
        return eager(self, *arguments)

    monkeypatch.setattr(compiled.CompiledFunction, "_eager", counted)
    return calls


@pytest.mark.parametrize(("kind", "name"), STEPS, ids=[f"{kind.__name__} {name}" for kind, name in STEPS])
def test_a_bad_value_is_the_eager_error(kind, name, eager_calls):
    loss, good, bad = BY_NAME[name]
    rv.manual_seed(0)
    eager = kind(loss)
    fast = copy.deepcopy(eager)
    step = strict(fast.step)
    inputs = np.random.default_rng(0).normal(size=(CALLS, 4, 3)).astype(np.float32)
    for call, x in enumerate(inputs, 1):
        arguments = x, bad if call in kind.bad_calls else good
        rv.manual_seed(call)
        expected = outcome(eager.step, *arguments), state(eager)
        rv.manual_seed(call)
        assert outcome(step, *arguments) == expected[0], call
        assert state(fast) == expected[1], call
        assert (expected[0][0] in (ValueError, IndexError)) == (call in kind.bad_calls)
    assert len(eager_calls) == 2  # the bad replays
    assert len(step.programs) == kind.programs


def test_a_held_gradient_keeps_its_values():
    rv.manual_seed(0)
    eager = Accumulating(bce)
    fast = copy.deepcopy(eager)
    step, held = strict(fast.step), []
    for call in range(1, CALLS + 1):
        arguments = np.full((4, 3), call, np.float32), ABOVE if call in fast.bad_calls else SHARES
        found = []
        for run, s in ((eager.step, eager), (step, fast)):
            rv.manual_seed(call)
            outcome(run, *arguments)
            found.append(state(s))
            if call % 3 == 2:
                s.optimizer.zero_grad()
        assert found[0] == found[1], call
        for gradient, values in held:
            assert bits(gradient) == values
        if (gradient := fast.model[3].weight.grad) is not None and call % 2:
            held.append((gradient, bits(gradient)))
            eager.model[3].weight.grad = eager.model[3].weight.grad.clone()
            fast.model[3].weight.grad = gradient.clone()


def test_a_bad_first_value_is_raised_and_the_next_call_is_recorded():
    s = Training(bce)
    step = strict(s.step)
    x = np.ones((4, 3), np.float32)
    assert outcome(step, x, NAN) == (
        ValueError,
        "[bce] got x with the value nan; expected values from 0 to 1",
    )
    for _ in range(4):
        step(x, SHARES)
    assert len(step.programs) == 1


def test_indices_that_are_changed_in_place_are_read_before_and_checked_after_that():
    def picked(x, i):
        j = i + 1
        y = x * j[:, None]
        j.sub_(1)
        return y + rv.gather(x, 1, j[:, None])

    step = strict(picked)
    x = np.ones((4, 3), np.float32)
    for call in range(8):
        index = LARGE if call == 5 else GOOD
        assert outcome(step, x, index) == outcome(picked, x, index)
    assert len(step.programs) == 1


REFUSED = [
    ("one_hot without num_classes", lambda x, i: x * F.one_hot(i), GOOD),
    ("multinomial", lambda x, w: x[0] * rv.multinomial(w, 2).sum(), SHARES),
    ("bernoulli", lambda x, w: x[:, 0] * rv.bernoulli(w), SHARES),
    ("poisson", lambda x, w: x[:, 0] * rv.poisson(w), SHARES),
    ("bincount", lambda x, i: x[0] * rv.bincount(i), GOOD),
    ("quantile", lambda x, q: rv.quantile(x, q), SHARES),
    ("pack_padded_sequence", lambda x, n: nn.utils.rnn.pack_padded_sequence(x, n, True, False)[0], GOOD + 1),
    ("that NumPy made", lambda x, i: rv.repeat_interleave(x, i, 0), GOOD),
]


@pytest.mark.parametrize(("text", "step", "good"), REFUSED, ids=range(len(REFUSED)))
def test_other_checks_of_values_are_not_captured(text, step, good):
    with pytest.raises(rv.CaptureError, match=text):
        strict(step)(rv.ones(4, 3), rv.tensor(good))


class Spoiling(rv.Callback):
    """Makes a label wrong after the first epoch."""

    def __init__(self, labels):
        self.labels = labels

    def on_epoch_end(self, *_, **__):
        self.labels[100] = 9


def trained(compile):
    """(trainer, the error) of a fit whose label number 100 is wrong from the second epoch on."""
    rv.manual_seed(1)
    x, y = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32), np.arange(200) % 3
    s = Training(None)
    trainer = rv.Trainer(s.model, nn.CrossEntropyLoss(), s.optimizer, compile=compile)
    with pytest.raises(ValueError, match="got class index 9 for x of shape") as caught:
        trainer.fit(x, y, epochs=3, batch_size=4, shuffle=False, callbacks=[Spoiling(y)])
    return trainer, str(caught.value), state(s)


def test_a_wrong_label_in_the_second_epoch_of_a_fit(monkeypatch):
    runs, run_batches = [], compiled.CompiledFunction.run_batches

    def counted(self, arguments, batches):
        results = run_batches(self, arguments, batches)
        runs.append((batches.first, batches.done, results is None))
        return results

    monkeypatch.setattr(compiled.CompiledFunction, "run_batches", counted)
    fast, eager = trained(True), trained(False)
    assert fast[1:] == eager[1:]
    assert fast[0].updates == eager[0].updates == 75
    assert runs[-1] == (25, 0, True)  # of 50 batches; number 25 has the label
    assert sum(done for _, done, _ in runs[-4:]) > 10


@pytest.mark.parametrize("bad", [0, 1, 4])
@pytest.mark.parametrize("kind", [Training, AfterUpdate])
def test_many_batches_end_before_a_bad_value(kind, bad):
    s = kind(bce)
    step = strict(s.step)
    rng = np.random.default_rng(2)
    x, p = rng.normal(size=(24, 3)).astype(np.float32), rng.random(24).astype(np.float32)
    for _ in range(33):  # so that all is measured
        step(x[:4], p[:4])
    expected, held = copy.deepcopy(s), s.model[0].weight.grad
    before = bits(held)
    values = p.copy()
    values[4 * bad + 2] = -0.5
    batches = Batches(None, 4, 0, 6)
    rv.manual_seed(7)
    results = step.run_batches((x, values), batches)
    found = state(s)
    rv.manual_seed(7)
    rows = [slice(4 * i, 4 * i + 4) for i in range(bad)]
    losses = [expected.step(rv.tensor(x[chosen]), rv.tensor(p[chosen])).item() for chosen in rows]
    assert batches.done == bad
    assert found == state(expected)
    assert bits(held) == before
    assert (None if results is None else results.tolist()) == (losses or None)
