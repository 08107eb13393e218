"""softmax and log_softmax: large logits, errors, no dimension."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from support.refused import refused


@pytest.mark.parametrize("n", [1, 3, 16, 17, 40])
def test_large_and_infinite_logits(n, isa):
    x = np.full((2, n), 1e4, np.float32)
    x[1] = -np.inf
    x[1, -1] = 5
    y = ops.softmax(x, 1).numpy()
    np.testing.assert_allclose(y[0], 1 / n, rtol=1e-6)
    np.testing.assert_array_equal(y[1], [0] * (n - 1) + [1])
    np.testing.assert_array_equal(ops.log_softmax(x, 1).numpy()[1], [-np.inf] * (n - 1) + [0])
    x[0, 0] = np.nan
    assert np.isnan(ops.softmax(x, 1).numpy()[0]).all()


def test_errors():
    x = rv.zeros(2, 3)
    refused(ValueError, "[softmax] got axis 2 for x of shape (2, 3); expected -2 to 1", ops.softmax, x, 2)
    refused(ValueError, "[log_softmax] got axis -3 for x of shape (2, 3); expected", ops.log_softmax, x, -3)
    refused(TypeError, "[softmax] got x of dtype int64", ops.softmax, np.arange(3), 0)


@pytest.mark.filterwarnings("ignore:.*got no dim", "ignore:Implicit dimension")
def test_without_dim_as_pytorch(rng, torch):
    """The dimension that PyTorch chooses, and a warning where it is not the last."""
    import ranvier.nn.functional as F

    for shape in ((), (4,), (2, 3), (2, 3, 4), (2, 3, 4, 2), (2, 2, 3, 2, 2)):
        x = rng.normal(size=shape)
        for name in ("softmax", "log_softmax"):
            want = getattr(torch.nn.functional, name)(torch.tensor(x)).numpy()
            np.testing.assert_allclose(getattr(F, name)(rv.tensor(x)).numpy(), want, rtol=1e-12)
    with pytest.warns(UserWarning, match=r"\[softmax\] got no dim for 3 dimensions; dim=0 is used"):
        rv.nn.Softmax()(rv.ones(2, 3, 4))
