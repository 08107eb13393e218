"""Losses that nn.functional alone has: what PyTorch 2.13 gave, and gradients by differences."""

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from support.refused import refused

X = np.linspace(-2, 2, 12).reshape(3, 4) * 7 % 3.1 - 1.5
SIGNS = rv.tensor([[1.0, -1, -1, 1], [-1, 1, 1, 1], [-1, -1, 1, -1]], dtype=rv.float64)
CLASSES, WEIGHT = rv.tensor([2, 0, 3]), rv.tensor([0.5, 1, 2, 0.25])
LABELS = rv.tensor([[3, 0, -1, 1], [1, -1, -1, -1], [-1, 2, 0, 1]])
HINGE_OF_ZEROS = [0.3, 0.3, 0.3, 1.43636, 0.88182, 0.32727, 0.3, 0.3, 0.3, 1.20909, 0.65455, 0.3]
HINGE = [0, 1.55455, 2.10909, 1.43636, 0.11818, 0.32727, -0.22727, -0.78182, 2.33636, 0, 0.65455, 0.9]
SOFT = [0.69315, 0, 0, 0, 35.27273, 0, 9.09104, 31.27274, 0, 48.36365, 0, 4.01817]
ROWS = {
    "hinge": (lambda x, **r: F.hinge_embedding_loss(x, SIGNS, **r), HINGE),
    "hinge of zeros": (lambda x, **r: F.hinge_embedding_loss(x, 0 * SIGNS, 0.3, **r), HINGE_OF_ZEROS),
    "soft margin": (lambda x, **r: F.soft_margin_loss(40 * x, SIGNS, **r), SOFT),
    "classes": (
        lambda x, **r: F.multi_margin_loss(x, CLASSES, 1, 0.7, WEIGHT, **r),
        [3.15455, 0.01818, 0.19148],
    ),
    "squares": (
        lambda x, **r: F.multi_margin_loss(x, CLASSES, 2, 0.7, WEIGHT, **r),
        [7.68984, 0.00264, 0.30292],
    ),
    "labels": (lambda x, **r: F.multilabel_margin_loss(x, LABELS, **r), [0.11136, 0.5, 0]),
    "label": (lambda x, **r: F.multilabel_margin_loss(x[0], LABELS[0], **r), [0.11136]),
    "one class": (lambda x, **r: F.multi_margin_loss(x[0, 0], CLASSES[0] * 0, **r), [0.0]),
    "one label": (lambda x, **r: F.multilabel_margin_loss(x[0, 0], CLASSES[0] * 0, **r), [0.0]),
    "soft labels": (
        lambda x, **r: F.multilabel_soft_margin_loss(x, (SIGNS + 1) / 2, WEIGHT, **r),
        [0.35597, 0.76827, 0.65251],
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_numbers_and_gradients(row):
    loss, expected = ROWS[row]
    x = rv.tensor(X, dtype=rv.float64, requires_grad=True)
    np.testing.assert_allclose(loss(x, reduction="none").detach().numpy().ravel(), expected, atol=2e-5)
    assert abs(loss(x).item() - np.mean(expected)) < 1e-5
    with pytest.warns(UserWarning, match="obsolete"):
        assert abs(loss(x, size_average=False).item() - np.sum(expected)) < 2e-4
    assert rv.autograd.gradcheck(loss, rv.tensor(X + 0.01, dtype=rv.float64, requires_grad=True))


def test_wrong_arguments():
    x = rv.tensor(X)
    refused(ValueError, "[multi_margin_loss] got target of shape (2,)", F.multi_margin_loss, x, CLASSES[:2])
    refused(ValueError, "and p 3; expected", F.multi_margin_loss, x, CLASSES, 3)
    refused(IndexError, "got index 4", F.multi_margin_loss, x, CLASSES + 1)
    refused(ValueError, "[multilabel_margin_loss] got target", F.multilabel_margin_loss, x, CLASSES)
    refused(ValueError, "[multi_margin_loss] got x of shape (1, 3, 4)", F.multi_margin_loss, x[None], CLASSES)
    refused(ValueError, "expected equal shapes", F.soft_margin_loss, x, SIGNS[0])
