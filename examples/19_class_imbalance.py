"""Rare classes: a network has a high accuracy although it hardly ever finds the rare class."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn, optim
from ranvier.data import DataLoader, TensorDataset, WeightedRandomSampler

NAMES = ["common", "rare"]


def samples(common: int, rare: int, seed: int):
    """Two clouds that overlap: the rare class is at the edge of the common one."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(0, 1, (common, 2)), rng.normal((2.0, 1.4), 0.6, (rare, 2))])
    return x.astype(np.float32), np.repeat([0, 1], [common, rare])


def trained(x, y, how: str) -> rv.Trainer:
    rv.manual_seed(0)
    model = rv.mlp([2, 16, 2], activation="tanh")
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer)
    if how == "drawn evenly":  # weights: about as many of both classes in a batch
        sampler = WeightedRandomSampler(1 / np.bincount(y)[y], num_samples=len(y))
        trainer.fit(DataLoader(TensorDataset(x, y), batch_size=32, sampler=sampler), epochs=30)
    else:  # "balanced": the loss of a sample counts n / (classes x samples of its class)
        weight = "balanced" if how == "weighted" else None
        trainer.fit(x, y, epochs=30, batch_size=32, class_weight=weight)
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    x, y = samples(950, 50, seed=0)
    xt, yt = samples(1900, 100, seed=1)
    figure, panels = plt.subplots(1, 3, figsize=(12, 4.4), sharey=True, layout="constrained")
    recall = {}
    for panel, how in zip(panels, ("as they are", "weighted", "drawn evenly"), strict=True):
        trainer = trained(x, y, how)
        predicted = trainer.predict(xt)
        precision = rv.metrics.precision_score(yt, predicted, average=None)  # of each class
        found = rv.metrics.recall_score(yt, predicted, average=None)
        recall[how] = found[1]
        print(f"{how}: accuracy {rv.metrics.accuracy_score(yt, predicted):.3f}")
        print(rv.metrics.classification_report(yt, predicted, target_names=NAMES))
        shown = slice(None, None, 5)  # all points would cover each other
        rv.plot.decision_boundary(trainer, xt[shown], yt[shown], class_names=NAMES, ax=panel)
        panel.set_title(f"{how}: {found[1]:.0%} of the rare found,\n{precision[1]:.0%} of those named so are")
        panel.label_outer()
    figure.savefig(out / "19_class_imbalance.png", dpi=110)
    print(", ".join(f"{how}: {value:.0%} of the rare class found" for how, value in recall.items()))


if __name__ == "__main__":
    main()
