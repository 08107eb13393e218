"""neuralforecast: models of time series are fitted, and predict."""

import logging

import numpy as np
import pandas as pd
from neuralforecast import NeuralForecast
from neuralforecast.models import MLP, NHITS
from weights import fill, normal


def job():
    """Two models, ten steps each, on all windows."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    times = np.arange(60)
    series = [np.sin(times / (3 + k)) + 0.1 * normal(60, seed=k) for k in range(4)]
    frame = pd.concat(
        [pd.DataFrame({"unique_id": str(k), "ds": times, "y": y}) for k, y in enumerate(series)]
    )
    options = {
        "h": 6,
        "input_size": 12,
        "max_steps": 10,
        "windows_batch_size": None,  # all, none drawn
        "batch_size": 4,
        "accelerator": "cpu",
    }
    options |= dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    models = [NHITS(mlp_units=3 * [[32, 32]], **options), MLP(hidden_size=32, num_layers=2, **options)]
    for model in models:
        fill(model)
    forecast = NeuralForecast(models, freq=1)
    forecast.fit(frame)
    predicted = forecast.predict()
    return {name: predicted[name].to_numpy() for name in ("NHITS", "MLP")}
