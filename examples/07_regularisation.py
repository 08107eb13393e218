"""Regularisation: a large network memorises 400 digits with their wrong labels, and what helps."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn, optim
from ranvier.data import augment

EPOCHS, BATCH, SEEDS = 50, 32, (0, 1)
WRONG = 0.2  # of the training labels

# what each run adds to the same network, samples and optimizer
WAYS: dict[str, dict] = {
    "nothing": {},
    "L1 penalty": {"l1": 1e-3},
    "L2 penalty": {"l2": 1e-2},
    "dropout": {"dropout": 0.5},
    "early stopping": {"stop": True},
    "augmentation": {"augment": augment.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1))},
}


def trained(train, held_out, seed, *, l1=0.0, l2=0.0, dropout=0.0, stop=False, augment=None):
    """The trainer after its run."""
    rv.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), rv.mlp([64, 256, 128, 10], dropout=dropout))
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"], l1=l1, l2=l2)
    # stops when the held-out loss has not fallen for ten epochs, and restores the best weights
    callbacks = [rv.EarlyStopping("val_loss", patience=10)] if stop else []
    loader = rv.data.DataLoader(
        rv.data.TensorDataset(*train), batch_size=BATCH, shuffle=True, augment=augment
    )
    trainer.fit(loader, epochs=EPOCHS, validation_data=held_out, callbacks=callbacks)
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    x, y = rv.data.datasets.load_digits()
    x, xt, y, yt = rv.data.train_test_split(x, y, train_size=400, random_state=0, stratify=y)
    held_out, test = (xt[:500], yt[:500]), (xt[500:], yt[500:])
    rng = np.random.default_rng(0)
    y = np.where(rng.random(len(y)) < WRONG, rng.integers(0, 10, len(y)), y)

    plt.style.use("tableau-colorblind10")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    accuracy = {}
    for (name, settings), dash in zip(WAYS.items(), ("-", "--", "-.", ":", "-", (0, (6, 1))), strict=True):
        runs = [trained((x, y), held_out, seed, **settings) for seed in SEEDS]
        known = sum(run.evaluate(x, y)["accuracy"] for run in runs) / len(runs)
        accuracy[name] = sum(run.evaluate(*test)["accuracy"] for run in runs) / len(runs)
        print(f"{name:<15} accuracy on its 400 samples {known:.3f}, on new ones {accuracy[name]:.3f}")
        # the penalties are a part of val_loss, so the runs are compared by accuracy
        left.plot(
            range(1, runs[0].history.epochs + 1), runs[0].history["val_accuracy"], linestyle=dash, label=name
        )
    left.set(xlabel="epoch", ylabel="held-out accuracy", title="while training", ylim=(0.6, 0.97))
    left.legend(fontsize=8)
    right.barh(list(accuracy), [1 - value for value in accuracy.values()], height=0.6)
    for i, value in enumerate(accuracy.values()):
        right.text(1 - value, i, f" {1 - value:.1%}", va="center")
    right.invert_yaxis()
    right.set(xlabel="share of new samples that are wrong", title=f"at the end, mean of {len(SEEDS)} runs")
    right.set_xlim(0, 1.2 * (1 - min(accuracy.values())))
    right.set_xticks(np.arange(0, 0.16, 0.05))
    right.xaxis.set_major_formatter("{x:.0%}")
    for panel in (left, right):
        panel.grid(alpha=0.3)
        panel.set_axisbelow(True)
    figure.savefig(out / "07_regularisation.png", dpi=110)
    best = max(accuracy, key=accuracy.get)
    wrong = {name: 1 - accuracy[name] for name in ("nothing", best)}
    print("mistakes on new samples:", ", ".join(f"{share:.1%} with {name}" for name, share in wrong.items()))


if __name__ == "__main__":
    main()
