"""Dropout: the reference's generator gives the published numbers, the share of dropped elements (5 standard
deviations), in place. Seeds: tests/properties.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from reference import dropout as reference
from support.refused import refused


def test_in_place():
    x = rv.ones(1000)
    y = ops.dropout(x, 0.5, inplace=True)
    assert y is x
    assert set(x.tolist()) == {0.0, 2.0}
    w = rv.ones(1000, requires_grad=True)
    h = w * 1.0
    assert rv.nn.Dropout(0.5, inplace=True)(h) is h
    h.sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), h.detach().numpy())
    refused(RuntimeError, "a leaf Variable that requires grad", ops.dropout, w, 0.5, inplace=True)


def test_alpha_dropout_keeps_mean_and_variance():
    rv.manual_seed(0)
    y = ops.alpha_dropout(rv.randn(1 << 20), 0.3, training=True).numpy()
    assert abs(y.mean()) < 0.01
    assert abs(y.var() - 1) < 0.02


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_reference_generator_gives_the_published_words(counter, key, words):
    """The known answers that come with Random123."""
    found = reference.philox4x32(np.array([counter]), np.array(key, np.uint64))[0]
    assert " ".join(f"{word:08x}" for word in found) == words


def test_share_of_dropped_elements():
    n, p = 1 << 20, 0.3
    y = rv.dropout(np.ones(n, np.float32), p).numpy()
    sigma = np.sqrt(n * p * (1 - p))
    assert abs((y == 0).sum() - n * p) < 5 * sigma
    np.testing.assert_array_equal(np.unique(y), np.array([0, 1 / 0.7], np.float32))


def test_out_of_training_x_comes_back():
    x = rv.ones(3)
    assert ops.dropout(x, 0.5, training=False) is x
    np.testing.assert_array_equal(ops.dropout(np.ones(3), 0.5, training=False).numpy(), np.ones(3))
