"""Errors that depend on the values of an array: a compiled step raises what the eager step raises, and leaves
what that leaves.

A step gets good values, and bad ones in a few calls: a label out of range, a scale of 0. After each call the
error or result, parameters, statistics, optimizer and random numbers have to be those of the eager step.
"""

import numpy as np
import pytest
import ranvier as rv
from compile.beside import alike, bits, outcome, played, same
from ranvier import distributions as D, nn
from ranvier.compile.compiled_function import CompiledFunction
from ranvier.nn import functional as F
from support.strict import strict

CALLS = 14


def maker(loss, kind="plain"):
    """A step that changes statistics, random numbers, gradients, parameters and the optimizer's state.

    kind: what comes before the loss, whose values are checked then: nothing, gradients that it adds to, an
    update. Where it predicts there is no tape, and part of the program is prepared.
    """

    def make():
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 3))
        optimizer = rv.optim.Adam(model.parameters(), lr=0.05)

        def predict(x, value):
            model.eval()
            with rv.no_grad():
                return loss(model(x), value)

        def step(x, value):
            if kind == "add":
                model(x).square().mean().backward()
            else:
                optimizer.zero_grad()
            if kind == "update":
                F.binary_cross_entropy(model(x).sigmoid(), rv.full((4, 3), 0.5)).backward()
                optimizer.step()
            if kind != "plain":  # so that the value is made after that
                value = value + (model[0].weight.detach().sum() * 0).to(value.dtype)
            result = loss(model(x), value)
            result.backward()
            optimizer.step()
            return result

        return predict if kind == "predict" else step, model, optimizer

    return make


def inputs_of(good, bad, bad_calls):
    def inputs(number):
        x = np.random.default_rng(number).normal(size=(4, 3)).astype(np.float32)
        return rv.tensor(x), rv.tensor(bad if number + 1 in bad_calls else good)

    return inputs


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

# --- the loss of an output and values, good and bad values: of distributions, and of others
of_classes = D.Categorical
CLASSES = np.array([0, 2, 1, 0])


def column(made):
    """A loss of what is made from an output (4, 3) and values (4, 1)."""
    return lambda out, value: made(out, value[:, None]).mean()


def with_drawn(made):
    """A loss of a distribution made from the same, at what is drawn from it."""

    def loss(out, value):
        d = made(out, value[:, None])
        return (d.log_prob(d.rsample()) + d.log_prob(d.sample())).mean()

    return loss


def squashed(out, scale):
    """A loss of a policy that keeps what it has drawn for log_prob."""
    d = D.TransformedDistribution(D.Normal(out, scale), [D.TanhTransform(cache_size=1)])
    return d.log_prob(d.rsample())


def mixture(out, scale):
    return D.MixtureSameFamily(of_classes(logits=out), D.Normal(out, scale[:, None]))


def with_factors(made):
    """A loss of a draw with lower factors that depend on one number."""

    def loss(out, value):
        factors = made(rv.ones(3, 3).tril() * out.exp()[:, :, None], value[2])
        return D.MultivariateNormal(out, scale_tril=factors).rsample().mean()

    return loss


def with_covariance(out, value):
    """A loss of a matrix that has to be symmetric: one element above the diagonal is added."""
    covariance = rv.eye(3) + value[2] * rv.tensor([[0.0, 0.5, 0.0], [0.0] * 3, [0.0] * 3])
    return D.MultivariateNormal(out, covariance_matrix=covariance).log_prob(out * 0.5).mean()


def zero_or_one(out):
    return (out.detach() > 0).float()


LOCATED = (D.Normal, D.Laplace, D.Cauchy, D.Gumbel, D.LogNormal)
OF_DISTRIBUTIONS = [  # the name, the loss, a good and a bad number among the values
    *(
        (f"loc of {kind.__name__}", with_drawn(lambda o, v, k=kind: k(o * v, 1)), 1, np.nan)
        for kind in LOCATED
    ),
    *((f"scale of {kind.__name__}", with_drawn(lambda o, v, k=kind: k(o, v)), 1, 0) for kind in LOCATED),
    ("scale of float64", column(lambda o, v: D.Normal(o.double(), v.double()).log_prob(0.5).float()), 1, -1),
    ("HalfNormal", with_drawn(lambda o, v: D.HalfNormal(o.exp() * v)), 1, -1),
    ("Uniform", with_drawn(lambda o, v: D.Uniform(o, o + v)), 1, 0),
    ("Exponential", with_drawn(lambda o, v: D.Exponential(o.exp() * v)), 1, 0),
    ("Independent", with_drawn(lambda o, v: D.Independent(D.Normal(o, v), 1)), 1, 0),
    ("TransformedDistribution", column(squashed), 1, 0),
    ("MixtureSameFamily", lambda out, v: mixture(out, v).log_prob(v).mean(), 1, 0),
    ("kl_divergence", column(lambda o, v: D.kl_divergence(D.Normal(o, v), D.Normal(0.0, 1.0))), 1, 0),
    ("Bernoulli", column(lambda o, v: D.Bernoulli(o.sigmoid() * v).log_prob(zero_or_one(o))), 1, 3),
    ("a value of Bernoulli", column(lambda o, v: D.Bernoulli(logits=o).log_prob(v)), 1, 0.5),
    ("Geometric", column(lambda o, v: D.Geometric(o.sigmoid() * v).log_prob(zero_or_one(o))), 1, 0),
    ("a value of Geometric", column(lambda o, v: D.Geometric(logits=o).log_prob(v)), 1e20, 0.5),
    ("an infinite value of Geometric", column(lambda o, v: D.Geometric(logits=o).log_prob(v)), 0, np.inf),
    ("probs of Categorical", column(lambda o, v: of_classes(o.exp() * v).entropy()), 1, 0),
    ("infinite probs", column(lambda o, v: of_classes(o.exp() * v).entropy()), 1, np.inf),
    ("logits of Categorical", column(lambda o, v: of_classes(logits=o * v).entropy()), 1, np.nan),
    (
        "OneHotCategorical",
        lambda o, v: D.OneHotCategorical(logits=o).log_prob(rv.eye(3)[:1] * v[2]).mean(),
        1,
        2,
    ),
    ("Poisson", column(lambda o, v: D.Poisson(o.exp() * v).variance), 0, -1),
    ("Binomial", column(lambda o, v: D.Binomial(v, logits=o).variance), 4, 4.5),
    ("Multinomial", column(lambda o, v: D.Multinomial(2, o.exp() * v).variance), 1, -1),
    ("Gamma", column(lambda o, v: D.Gamma(o.exp(), v).variance), 1, 0),
    ("Beta", column(lambda o, v: D.Beta(o.exp(), v).variance), 1, 0),
    ("Dirichlet", column(lambda o, v: D.Dirichlet(o.exp() * v).variance), 1, 0),
    ("StudentT", column(lambda o, v: D.StudentT(3 + o.exp(), o, v).variance), 1, 0),
    ("the diagonal of scale_tril", with_factors(lambda factors, n: factors + n * rv.eye(3)), 1, -90),
    ("a covariance", with_covariance, 0, 1),
    ("above the diagonal", with_factors(lambda factors, n: factors + n * rv.ones(3, 3).triu(1)), 0, 1),
]


def with_one(n):
    return np.array([1, 1, n, 1], np.float32)


DISTRIBUTIONS = [(name, loss, with_one(good), with_one(bad)) for name, loss, good, bad in OF_DISTRIBUTIONS]
DISTRIBUTIONS += [
    ("classes of Categorical", lambda o, v: of_classes(logits=o).log_prob(v).mean(), CLASSES, 2 * CLASSES),
    ("classes in floats", lambda o, v: of_classes(logits=o).log_prob(v).mean(), with_one(2), with_one(0.5)),
]

CHECKS = [  # the name, the loss, good values and bad ones
    ("cross_entropy", F.cross_entropy, GOOD, LARGE),
    ("int32 labels", F.cross_entropy, GOOD.astype(np.int32), NEGATIVE.astype(np.int32)),
    ("nll_loss", F.nll_loss, GOOD, LARGE),
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
OF_ALL = [
    "cross_entropy",
    "pairs",
    "one_hot",
    "binary_cross_entropy",
    "binary_cross_entropy of NaN",
    "put",
    "scale of Normal",
    "probs of Categorical",
    "whole division",
    "places to change",
]
# How a step is made, its programs, and the calls with a bad value: replays, and a check between them. The
# check comes one call later where the first comparison had to be recorded (`comparison.py`).
KINDS = {
    "plain": ("plain", 1, (3, 8, 9, 12)),
    "accumulating": ("add", 2, (4, 9, 10, 12)),  # the second call is recorded anew, since it finds gradients
    "after an update": ("update", 1, (3, 8, 9, 12)),
    "predicting": ("predict", 1, (3, 8, 9, 12)),
}
STEPS = [(kind, name) for kind in KINDS for name in (BY_NAME if kind == "plain" else OF_ALL)]


@pytest.fixture
def eager_calls(monkeypatch):
    """Grows at each call that a compiled function runs eagerly, without recording or checking it."""
    calls, missed = [], CompiledFunction._missed

    def counted(*args, **keywords):
        calls.append(1)
        return missed(*args, **keywords)

    monkeypatch.setattr(CompiledFunction, "_missed", counted)
    return calls


@pytest.mark.parametrize(("kind", "name"), STEPS, ids=[f"{kind} {name}" for kind, name in STEPS])
def test_a_bad_value_is_the_eager_error(kind, name, eager_calls):
    loss, good, bad = BY_NAME[name]
    before, programs, bad_calls = KINDS[kind]
    make, inputs = maker(loss, before), inputs_of(good, bad, bad_calls)
    shown, _ = played(make, inputs, lambda step: step, CALLS)
    raised = [
        n
        for n, (found, *_) in enumerate(shown, 1)
        if isinstance(found[0], type) and issubclass(found[0], (ValueError, IndexError))
    ]
    assert tuple(raised) == bad_calls
    step = same(make, inputs, CALLS)
    assert len(eager_calls) == 3  # the bad replays
    assert len(step.programs) == programs


def test_a_held_gradient_keeps_its_values():
    held = []

    def between(number, model, optimizer):
        if number % 3 == 1:
            optimizer.zero_grad()
        assert all(bits(gradient) == values for gradient, values in held)
        weight = model[3].weight
        if weight.grad is not None and number % 2 == 0:
            held.append((weight.grad, bits(weight.grad)))
            weight.grad = weight.grad.clone()

    same(maker(bce, "add"), inputs_of(SHARES, ABOVE, (4, 9, 10, 12)), CALLS, between)
    assert len(held) > 4


def test_a_bad_first_value_is_raised_and_the_next_call_is_recorded():
    step, shown = (
        same(maker(bce), inputs_of(SHARES, NAN, (1,))),
        outcome(maker(bce)()[0], rv.ones(4, 3), rv.tensor(NAN)),
    )
    assert issubclass(shown[0], ValueError)
    assert shown[1:] == ("[binary_cross_entropy] got x with the value nan; expected values from 0 to 1",)
    assert len(step.programs) == 1


def added_by_numpy(x, i):
    j = i + 1
    y = x * j[:, None]
    j.sub_(1)
    return y + rv.gather(x, 1, j[:, None])


def copied_by_the_core(x, i):
    j = x.argmax(1)
    y = rv.gather(x, 1, j[:, None])
    j.copy_(i)
    return y + rv.gather(x, 1, j[:, None])


@pytest.mark.parametrize("picked", [added_by_numpy, copied_by_the_core])
def test_indices_that_are_changed_in_place_are_read_before_and_checked_after_that(picked):
    step = same(lambda: picked, inputs_of(GOOD, LARGE, (6,)), 8)
    assert len(step.programs) == 1


class Spoiling(rv.Callback):
    """Makes a label wrong after the first epoch."""

    def __init__(self, labels):
        self.labels = labels

    def on_epoch_end(self, *_, **__):
        self.labels[100] = 9


def test_a_wrong_label_in_the_second_epoch_of_a_fit(runs):
    def run(compile):
        rv.manual_seed(1)
        x, y = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32), np.arange(200) % 3
        _, model, optimizer = maker(None)()
        trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer, compile=compile)
        with pytest.raises(ValueError, match="got class index 9 for x of shape") as caught:
            trainer.fit(x, y, epochs=3, batch_size=4, shuffle=False, callbacks=[Spoiling(y)])
        if compile:
            assert sum(runs[-4:]) > 10
        return str(caught.value), trainer.updates, bits([model, optimizer])

    assert alike(run)[1] == 75  # 50 batches; number 25 has the label


@pytest.mark.parametrize("bad", [0, 1, 4])
@pytest.mark.parametrize("kind", ["plain", "update"])
def test_many_calls_in_one_end_before_a_bad_value(kind, bad, runs):
    rng = np.random.default_rng(2)
    x, p = rng.normal(size=(38, 4, 3)).astype(np.float32), rng.random((38, 4)).astype(np.float32)
    p[33 + bad, 2] = -0.5

    def run(compile):
        rv.manual_seed(3)
        step, model, optimizer = maker(bce, kind)()
        fast = strict(step) if compile else step
        for number in range(33):  # so that all is measured
            fast(rv.tensor(x[number]), rv.tensor(p[number]))
        held = model[0].weight.grad
        values = bits(held)
        given = rv.tensor(x[33:]), rv.tensor(p[33:])
        shown = outcome(fast.run if compile else lambda *given: [*map(step, *given)], *given)
        assert bits(held) == values
        return shown, bits([model, optimizer]), rv.get_rng_state().tolist()

    assert issubclass(alike(run)[0][0], ValueError)
    assert sum(runs) == bad
