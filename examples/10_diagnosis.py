"""Six training runs, five of them with a fault: the diagnosis of each, and the remedy."""

import argparse
import warnings
from pathlib import Path

import numpy as np
import ranvier as rv
from matplotlib.figure import Figure
from ranvier import nn, optim

X, Y = rv.data.datasets.load_digits()
TRAIN, VALID = slice(0, 1400), slice(1400, None)


def run(x=X, hidden=(64, 64), activation="relu", end=(), lr=0.1, epochs=20, train=TRAIN):
    """Train a network on digits, and diagnose the run."""
    rv.manual_seed(0)
    layers = rv.mlp([64, *hidden, 10], activation=activation)
    model = nn.Sequential(nn.Flatten(), *layers, *end)
    trainer = rv.Trainer(
        model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=lr), metrics=["accuracy"]
    )
    history = trainer.fit(x[train], Y[train], epochs=epochs, validation_data=(x[VALID], Y[VALID]))
    return history, rv.diagnose(trainer, data=(x[train], Y[train]))


RUNS = {
    "as it should be": {},
    "learning rate 0.0003": {"lr": 0.0003},
    "learning rate 8": {"lr": 8.0},
    "pixels from 0 to 4,000": {"x": 4000 * X, "lr": 0.01},
    "softmax before the loss": {"end": [nn.Softmax(dim=1)]},
    "80 samples to learn from": {"train": slice(0, 80), "epochs": 200},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    # Trainer.fit itself warns of two of the faults; this example shows what rv.diagnose finds.
    warnings.filterwarnings("ignore", r"\[Trainer.fit\]")

    figure = Figure(figsize=(10, 6.4), layout="constrained")
    panels = figure.subplots(2, 3)
    found = {}
    for panel, (name, settings) in zip(panels.flat, RUNS.items(), strict=True):
        history, diagnosis = run(**settings)
        found[name] = [finding.rule for finding in diagnosis]
        print(f"--- {name}: {history['val_accuracy'][-1]:.1%} of the validation digits are right")
        print(diagnosis, end="\n\n")

        epochs = np.arange(1, history.epochs + 1)
        for key, style, text in (("loss", "-", "training"), ("val_loss", "--", "validation")):
            panel.plot(epochs, history[key], style, label=text)
        if max(history["loss"]) > 10 * min(history["loss"]):
            panel.set_yscale("log")
        panel.set_title(f"{name}\n{', '.join(found[name]) or 'nothing found'}", fontsize=10)
        panel.set_xlabel("epoch")
        panel.set_ylabel("loss")
        panel.legend(fontsize=8)

    picture = out / "10_diagnosis.png"
    figure.savefig(picture, dpi=120)
    print(f"saved {picture}")
    ill = [name for name in list(RUNS)[1:] if found[name]]
    healthy = "nothing" if not found["as it should be"] else "something"
    print(f"{len(ill)} of 5 faults were found; of the healthy run: {healthy}")


if __name__ == "__main__":
    main()
