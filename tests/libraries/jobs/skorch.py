"""skorch: a classifier with scikit-learn's interface is fitted, and predicts."""

from skorch import NeuralNetClassifier
from torch import nn
from weights import fill, labels, normal


def network():
    """A network of two layers."""
    return fill(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3), nn.Softmax(-1)))


def job():
    """Fits 1,000 rows for five epochs."""
    x, y = normal(1000, 20), labels(1000, classes=3)
    net = NeuralNetClassifier(network, max_epochs=5, lr=0.1, batch_size=64, verbose=0)
    net.fit(x, y)
    losses = net.history[:, ("train_loss", "valid_loss", "valid_acc")]
    return {"losses": losses, "probabilities": net.predict_proba(x[:20])}
