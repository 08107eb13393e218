"""pytorch-tabnet: a classifier is fitted, predicts and explains."""

from pytorch_tabnet.tab_model import TabNetClassifier
from weights import fill, labels, normal


def job():
    """Fits 1,000 rows in one batch, five epochs after the first, which makes the network."""
    x, y = normal(1000, 12), labels(1000, classes=3)
    model = TabNetClassifier(verbose=0, seed=0, n_d=8, n_a=8)
    options = {"batch_size": 1000, "virtual_batch_size": 1000, "drop_last": False}
    model.fit(x, y, max_epochs=1, **options)
    fill(model.network)
    model.fit(x, y, max_epochs=5, warm_start=True, **options)
    explained, _ = model.explain(x[:10])
    return {
        "losses": model.history["loss"],
        "probabilities": model.predict_proba(x[:10]),
        "explained": explained,
    }
