"""Models of tables, of survival times and of time series."""

import functools
import logging

import common
import numpy as np
import pandas as pd
import torch
from common import fill, labels, normal, step, uniform
from torch import from_numpy, nn


@functools.cache
def _converted(draw):
    """Pairs of scikit-learn's models, fitted to numbers moved by a draw, and what they become."""
    from hummingbird.ml import convert
    from sklearn import ensemble, linear_model, naive_bayes, neural_network, preprocessing, svm, tree

    models = (
        ensemble.RandomForestClassifier(8, max_depth=4, random_state=0),
        ensemble.GradientBoostingClassifier(n_estimators=6, random_state=0),
        ensemble.ExtraTreesClassifier(8, max_depth=9, random_state=0),
        linear_model.LogisticRegression(),
        naive_bayes.GaussianNB(),
        neural_network.MLPClassifier((8,), max_iter=5, random_state=0),
        preprocessing.StandardScaler(),
        svm.SVC(probability=False),
        tree.DecisionTreeClassifier(max_depth=12, random_state=0),
    )
    x, wanted = normal(200, 6), labels(200, classes=3)
    return [(model, convert(model.fit(x, wanted), "torch", x)) for model in models]


def hummingbird():
    """Scikit-learn's models as tensors' operations. What each gives for 200 rows; they are fitted once, since
    nearly all of it is scikit-learn's."""
    x, answer = normal(200, 6), {}
    for model, here in _converted(common.MOVED):
        given = here.transform(x) if hasattr(model, "transform") else here.predict(x)
        answer[type(model).__name__] = np.asarray(given)
        if hasattr(model, "predict_proba"):
            answer[f"{type(model).__name__} shares"] = here.predict_proba(x)
    return answer


def neuralforecast():
    """Models of time series are fitted, and predict. Two models, ten steps each, on all windows."""
    from neuralforecast import NeuralForecast
    from neuralforecast.models import MLP, NHITS

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


def pycox():
    """Models of survival times are fitted, and predict survival curves. Fits three models, three epochs
    each."""
    import torchtuples
    from pycox.models import CoxPH, DeepHitSingle, LogisticHazard

    times, events = uniform(600, low=0.1, high=10.0, seed=1), labels(600, classes=2, seed=2)
    x = normal(600, 8)
    answer = {}
    for name, kind in (("cox", CoxPH), ("hazard", LogisticHazard), ("hit", DeepHitSingle)):
        target, outputs, options = (times, events.astype(np.float32)), 1, {}
        if kind is not CoxPH:
            cuts = kind.label_transform(10)
            target = cuts.fit_transform(times, events)
            outputs, options = cuts.out_features, {"duration_index": cuts.cuts}
        network = fill(torchtuples.practical.MLPVanilla(8, [32], outputs, batch_norm=True, dropout=0.0))
        model = kind(network, torchtuples.optim.Adam(0.01), **options)
        log = model.fit(x, target, batch_size=100, epochs=3, shuffle=False, verbose=False)
        if kind is CoxPH:
            model.compute_baseline_hazards()
        answer[name] = log.to_pandas().to_numpy()
        answer[f"{name}_survival"] = model.predict_surv_df(x[:5]).to_numpy()
    return answer


def pytorch_tabnet():
    """A classifier is fitted, predicts and explains. Fits 1,000 rows in one batch, five epochs after the
    first, which makes the network."""
    from pytorch_tabnet.tab_model import TabNetClassifier

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


def rtdl_revisiting_models():
    """MLP, ResNet and FT-Transformer are trained on a table. Eight steps of AdamW of each."""
    from rtdl_revisiting_models import MLP, FTTransformer, ResNet

    x, kinds = from_numpy(normal(128, 8)), from_numpy(labels(128, 2, classes=4))
    y = from_numpy(normal(128, seed=1))
    options = FTTransformer.get_default_kwargs(n_blocks=2) | {"attention_dropout": 0.0, "ffn_dropout": 0.0}
    residual = {"n_blocks": 2, "d_block": 32, "d_hidden": 64, "d_hidden_multiplier": None}
    models = {
        "mlp": MLP(d_in=8, d_out=1, n_blocks=2, d_block=64, dropout=0.0),
        "resnet": ResNet(d_in=8, d_out=1, **residual, dropout1=0.0, dropout2=0.0),
        "transformer": FTTransformer(n_cont_features=8, cat_cardinalities=[4, 4], d_out=1, **options),
    }
    answer = {}
    for name, model in models.items():
        fill(model)
        inputs, optimizer = (x,), torch.optim.AdamW(model.parameters(), lr=1e-3)
        if name == "transformer":
            inputs, optimizer = (x, kinds), model.make_default_optimizer()
        losses = [step(optimizer, (model(*inputs).squeeze(-1) - y).square().mean()) for _ in range(8)]
        answer[name] = losses
    return answer


def skorch():
    """A classifier with scikit-learn's interface is fitted, and predicts. Fits 1,000 rows for five epochs."""
    from skorch import NeuralNetClassifier

    def network():
        """A network of two layers."""
        return fill(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 3), nn.Softmax(-1)))

    x, y = normal(1000, 20), labels(1000, classes=3)
    net = NeuralNetClassifier(network, max_epochs=5, lr=0.1, batch_size=64, verbose=0)
    net.fit(x, y)
    losses = net.history[:, ("train_loss", "valid_loss", "valid_acc")]
    return {"losses": losses, "probabilities": net.predict_proba(x[:20])}


def tabm():
    """An ensemble in one network is trained on a table. Ten steps of AdamW."""
    from rtdl_num_embeddings import LinearReLUEmbeddings
    from tabm import TabM

    x, kinds = from_numpy(normal(256, 8)), from_numpy(labels(256, 2, classes=4))
    y = from_numpy(labels(256, classes=3, seed=1))
    model = TabM.make(
        n_num_features=8,
        cat_cardinalities=[4, 4],
        d_out=3,
        n_blocks=2,
        d_block=64,
        dropout=0.0,
        k=8,
        num_embeddings=LinearReLUEmbeddings(8, 16),
    )
    fill(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=3e-4)
    loss, y = nn.functional.cross_entropy, y.repeat_interleave(8)
    losses = [step(optimizer, loss(model(x, kinds).flatten(0, 1), y)) for _ in range(10)]
    model.eval()
    return {"losses": losses, "probabilities": model(x[:8], kinds[:8]).softmax(-1).mean(1)}


def torchtuples():
    """A model of several inputs is fitted, and predicts. Fits 1,000 rows for four epochs."""
    import torchtuples

    x, y = normal(1000, 10), normal(1000, 1, seed=1)
    network = fill(torchtuples.practical.MLPVanilla(10, [32, 32], 1, batch_norm=True, dropout=0.0))
    model = torchtuples.Model(
        network, nn.MSELoss(), torchtuples.optim.AdamWR(lr=0.01, decoupled_weight_decay=0.01)
    )
    log = model.fit(x, y, batch_size=128, epochs=4, shuffle=False, verbose=False, val_data=(x[:200], y[:200]))
    return {"losses": log.to_pandas().to_numpy(), "predictions": model.predict(x[:10])}
