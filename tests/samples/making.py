"""Samples of `ops/making`: numbers of distributions, also in place, new tensors of another one's dtype.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

import numpy as np
import ranvier as rv

from samples.sample import call, fixed, op, refused, state


@op(draws=True, lacks="C ONNX jet NaN captured")
def bernoulli(x):
    yield call(x(3, 7, low=0.1, high=0.9))
    yield call(x(low=0.1, high=0.9))
    yield call(fixed(x(3, 7)), p=0.3)
    yield call(x(0, 3))
    yield refused(ValueError, "[bernoulli] got probabilities outside [0, 1]", x(3, low=2.0, high=3.0))
    yield refused(ValueError, "[bernoulli] got p 2", x(3), p=2.0)


@op(draws=True, lacks="C ONNX NaN captured")
def binomial(x):
    yield call(fixed(np.array([0.0, 3.0, 9.0])), fixed(x(3, low=0.1, high=0.9)))
    yield call(fixed(np.array([[2.0], [5.0]])), fixed(np.array([0.0, 1.0, 0.5])))
    yield refused(ValueError, "[binomial] got a negative count", np.array([-1.0]), x(1, low=0.1, high=0.9))


@op(draws=True, lacks="C ONNX NaN 0-d captured")
def multinomial(x):
    yield call(x(5, low=0.1), 3)
    yield call(x(4, 5, low=0.1), 3)
    yield call(x(4, 5, low=0.1), 8, replacement=True)
    yield call(x(0, 5), 2)
    yield refused(ValueError, "[multinomial] got x of shape (1, 2, 3)", x(1, 2, 3, low=0.1), 1)
    yield refused(ValueError, "[multinomial] got", x(3, low=0.1), 4)


@op(draws=True, lacks="C ONNX jet NaN rounding")
def normal(x):
    yield call(2.0, 3.0, (3, 7))
    yield call(x(3, 7), 2.0)
    yield call(x(3, 1), x(7, low=0.5))
    yield call(0.0, x(7, low=0.5))
    yield call(0.0, 1.0, (2, 3), dtype=rv.float64)
    yield refused(ValueError, "[normal] got std", x(3), -1.0)


@op(draws=True, lacks="C ONNX jet NaN captured")
def poisson(x):
    yield call(x(3, 7, low=0.5, high=9.0))
    yield call(x(0, 3))
    yield refused(ValueError, "[poisson] got a negative rate", np.array([-1.0]))
    yield refused(TypeError, "[poisson] got x of dtype int64", np.array([1]))


@op(draws=True, lacks="C ONNX captured")
def randint_like(x):
    yield call(x(3, 7), 5)
    yield call(x.integers(0, 5, 3, 7), -2, 3)
    yield call(x(3, 7), 0, 5, dtype=rv.int64)
    yield call(x(0, 3), 5)
    yield refused(ValueError, "[randint", x(3), 5, 5)


@op(draws=True, lacks="C ONNX captured")
def cauchy_(x):
    yield call(state(x(3, 7)))
    yield call(state(x(3, 7)), median=2.0, sigma=0.5)
    yield refused(ValueError, "[cauchy_] got sigma 0", fixed(x(3)), 0.0, 0.0)
    yield refused(TypeError, "[cauchy_] got x of dtype int64", np.array([1]))


@op(draws=True, lacks="C ONNX captured")
def exponential_(x):
    yield call(state(x(3, 7)))
    yield call(state(x(3, 7)), 0.5)
    yield refused(ValueError, "[exponential_] got lambd 0", fixed(x(3)), 0.0)


@op(draws=True, lacks="C ONNX captured")
def geometric_(x):
    yield call(state(x(3, 7)), 0.3)
    yield call(state(x.integers(0, 5, 3, 7)), 0.5)
    yield refused(ValueError, "[geometric_] got p 0", fixed(x(3)), 0.0)


@op(draws=True, lacks="C ONNX captured")
def log_normal_(x):
    yield call(state(x(3, 7)))
    yield call(state(x(3, 7)), 0.0, 0.5)
    yield refused(ValueError, "[log_normal_] got std 0", fixed(x(3)), 0.0, 0.0)


@op(draws=True, lacks="C ONNX")
def normal_(x):
    yield call(state(x(3, 7)))
    yield call(state(x(3, 7)), 2.0, 0.5)
    yield refused(ValueError, "[normal_] got std -1", fixed(x(3)), 0.0, -1.0)


@op(draws=True, lacks="C ONNX captured")
def random_(x):
    yield call(state(x(3, 7)))
    yield call(state(x(3, 7)), 5)
    yield call(state(x.integers(0, 5, 3, 7)), -2, 3)
    yield call(state(x.bools(7)))
    yield refused(ValueError, "[random_] got", fixed(x(3)), 3, 3)


@op(draws=True, lacks="C ONNX")
def uniform_(x):
    yield call(state(x(3, 7)))
    yield call(state(x(3, 7)), -2.0, 0.5)
    yield refused(ValueError, "[uniform_] got 1.0 to 0.0", fixed(x(3)), 1.0, 0.0)


@op(
    reference=lambda start, end, steps, base=10.0, dtype=None: np.logspace(start, end, steps, base=base),
    lacks="C ONNX",
)
def logspace(x):
    yield call(0.0, 2.0, 5)
    yield call(-1.0, 2.0, 4, base=2.0, dtype=rv.float64)
    yield call(0, 3, 4, dtype=rv.int64)
    yield call(0.0, 1.0, 0)
    yield refused(ValueError, "got", 0.0, 1.0, -1)


@op(reference=lambda s, dtype=None: s, lacks="ONNX", anything="s")
def scalar_tensor(x):
    yield call(2.5)
    yield call(3, dtype=rv.int64)
    yield refused(ValueError, "[scalar_tensor] got data of dtype", "text")


@op(lacks="C ONNX", anything="other")
def result_type(x):
    yield call(x(3), x.integers(0, 5, 3))
    yield call(x.integers(0, 5, 3), 0.5)
    yield call(x.bools(3), 2)
    yield refused(TypeError, "[result_type] got str", x(3), "text")


@op(lacks="C")
def new_empty(x):
    yield call(x(2), 0, 3)
    yield call(x.integers(0, 5, 2), (2, 0), dtype=rv.float64)
    yield refused(ValueError, "got", x(2), -1)


@op(
    reference=lambda x, *size, dtype=None: np.ones(size if np.ndim(size[0]) == 0 else size[0]), lacks="limits"
)
def new_ones(x):
    yield call(x(2), 2, 3)
    yield call(x.integers(0, 5, 2), (2, 0, 3))
    yield call(x(2), 4, dtype=rv.int64)
    yield refused(ValueError, "got", x(2), -1)


@op(reference=lambda x, *size, dtype=None: np.zeros(size if np.ndim(size[0]) == 0 else size[0]))
def new_zeros(x):
    yield call(x(2), 2, 3)
    yield call(x.integers(0, 5, 2), (2, 0, 3))
    yield call(x(2), 4, dtype=rv.int64)
    yield refused(ValueError, "got", x(2), -1)


@op(reference=lambda x, size, value, dtype=None: np.full(size, value), anything="2")
def new_full(x):
    yield call(x(2), (2, 3), 0.5)
    yield call(x.integers(0, 5, 2), (4,), 3)
    yield call(x(2), (2,), 3, dtype=rv.int64)
    yield refused(ValueError, "got", x(2), (-1,), 1.0)


@op(reference=lambda x, data, dtype=None: np.asarray(data))
def new_tensor(x):
    yield call(x(2), [1.5, 2.5])
    yield call(x.integers(0, 5, 2), [[1], [2]])
    yield call(x(2), 3, dtype=rv.int64)
    yield refused(ValueError, "[new_tensor] got data of dtype", x(2), "text")
