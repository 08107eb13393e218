"""NumPy's masked arrays: nothing here would respect the mask, so they are refused wherever arrays come in."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import data, kernels, metrics, nn

MASKED = np.ma.masked_array(np.ones((4, 3), np.float32), np.eye(4, 3, dtype=bool))
LABELS = np.ma.masked_array(np.array([0, 1, 0, 1]), [True, False, False, False])
X, Y = np.ones((4, 3), np.float32), np.array([0, 1, 0, 1])

CALLS = {
    "tensor": lambda: rv.tensor(MASKED), "as_tensor": lambda: rv.as_tensor(MASKED),
    "from_numpy": lambda: rv.from_numpy(MASKED), "Tensor": lambda: rv.Tensor(MASKED),
    "FloatTensor": lambda: rv.FloatTensor(MASKED), "zeros_like": lambda: rv.zeros_like(MASKED),
    "Parameter": lambda: nn.Parameter(MASKED), "data": lambda: setattr(rv.zeros(4, 3), "data", MASKED),
    "add": lambda: rv.zeros(4, 3) + MASKED, "radd": lambda: rv.add(MASKED, rv.zeros(4, 3)),
    "integers": lambda: rv.add(LABELS, 1), "relu": lambda: rv.relu(MASKED), "sum": lambda: rv.sum(MASKED),
    "sum of integers": lambda: rv.sum(LABELS), "where": lambda: rv.where(X > 0, MASKED, 0.0),
    "cat": lambda: rv.cat([X, MASKED]), "setitem": lambda: rv.zeros(4, 3).__setitem__(slice(None), MASKED),
    "setitem on the tape": lambda: rv.zeros(4, 3, requires_grad=True).clone().__setitem__(0, MASKED[0]),
    "copy_": lambda: rv.zeros(4, 3).copy_(MASKED), "a layer": lambda: nn.Linear(3, 2)(MASKED),
    "a loss": lambda: nn.functional.cross_entropy(rv.tensor(X), LABELS),
    "a kernel": lambda: kernels.relu(MASKED),
    "backward": lambda: rv.ones(4, 3, requires_grad=True).clone().backward(MASKED),
    "TensorDataset": lambda: data.TensorDataset(MASKED, Y),
    "train_test_split": lambda: data.train_test_split(X, LABELS),
    "Standardize": lambda: data.Standardize().fit(MASKED), "one_hot": lambda: data.one_hot(LABELS),
    "accuracy": lambda: metrics.accuracy_score(Y, LABELS), "r2": lambda: metrics.r2_score(LABELS, Y),
    "roc_auc": lambda: metrics.roc_auc_score(LABELS, Y),
    "fit": lambda: trainer().fit(MASKED, Y, epochs=1),
    "fit labels": lambda: trainer().fit(X, LABELS, epochs=1), "predict": lambda: trainer().predict(MASKED),
}  # fmt: skip


def trainer():
    model = nn.Linear(3, 2)
    return rv.Trainer(model, nn.CrossEntropyLoss(), rv.optim.SGD(model.parameters(), 0.1))


@pytest.mark.parametrize("name", CALLS)
def test_is_refused_with_the_remedy(name):
    with pytest.raises(TypeError, match=r"\[[\w.]+\] got .*mask.*; expected .*filled\(value\)"):
        CALLS[name]()


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_filled_and_other_subclasses_are_taken():
    assert rv.tensor(MASKED.filled(7.0)).tolist()[0] == [7.0, 1.0, 1.0]
    assert rv.tensor(np.matrix([[1.0, 2.0]])).shape == (1, 2)
    assert rv.relu(np.matrix([[-1.0, 2.0]], dtype=np.float32)).tolist() == [[0.0, 2.0]]
