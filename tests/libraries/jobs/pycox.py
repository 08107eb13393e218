"""pycox: models of survival times are fitted, and predict survival curves."""

import numpy as np
import torchtuples
from pycox.models import CoxPH, DeepHitSingle, LogisticHazard
from weights import fill, labels, normal, uniform


def job():
    """Fits three models, three epochs each."""
    x, times, events = (
        normal(600, 8),
        uniform(600, low=0.1, high=10.0, seed=1),
        labels(600, classes=2, seed=2),
    )
    answer = {}
    for name, kind in (("cox", CoxPH), ("hazard", LogisticHazard), ("hit", DeepHitSingle)):
        target, outputs, options = (times, events.astype(np.float32)), 1, {}
        if kind is not CoxPH:
            cuts = kind.label_transform(10)
            target, outputs, options = (
                cuts.fit_transform(times, events),
                cuts.out_features,
                {"duration_index": cuts.cuts},
            )
        network = fill(torchtuples.practical.MLPVanilla(8, [32], outputs, batch_norm=True, dropout=0.0))
        model = kind(network, torchtuples.optim.Adam(0.01), **options)
        log = model.fit(x, target, batch_size=100, epochs=3, shuffle=False, verbose=False)
        if kind is CoxPH:
            model.compute_baseline_hazards()
        answer[name] = log.to_pandas().to_numpy()
        answer[f"{name}_survival"] = model.predict_surv_df(x[:5]).to_numpy()
    return answer
