"""torchtuples: a model of several inputs is fitted, and predicts."""

import torchtuples
from torch import nn
from weights import fill, normal


def job():
    """Fits 1,000 rows for four epochs."""
    x, y = normal(1000, 10), normal(1000, 1, seed=1)
    network = fill(torchtuples.practical.MLPVanilla(10, [32, 32], 1, batch_norm=True, dropout=0.0))
    model = torchtuples.Model(
        network, nn.MSELoss(), torchtuples.optim.AdamWR(lr=0.01, decoupled_weight_decay=0.01)
    )
    log = model.fit(x, y, batch_size=128, epochs=4, shuffle=False, verbose=False, val_data=(x[:200], y[:200]))
    return {"losses": log.to_pandas().to_numpy(), "predictions": model.predict(x[:10])}
