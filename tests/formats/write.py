"""The files of one release, which every later version has to read: RELEASING.md says when they are written.

python tests/formats/write.py      makes the folder tests/formats/<version>, of some 20 kB
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import ranvier as rv
from ranvier import nn, optim

EPOCHS, STOPPED = 4, 2


def data() -> tuple[np.ndarray, np.ndarray]:
    """Images and labels, from arithmetic that no version of a random generator can change."""
    x = (np.arange(24 * 64, dtype=np.float32) * 37 % 101 / 101).reshape(24, 1, 8, 8)
    return x, np.arange(24) % 3


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, bias=False),  # before a norm: its gradient would be rounding errors alone
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(18, 6),
        nn.Tanh(),
        nn.Dropout(0.1),
        nn.Linear(6, 3),
    )


def trainer(model: nn.Module) -> rv.Trainer:
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    return rv.Trainer(model, nn.CrossEntropyLoss(), optimizer)


def fit(folder: Path, epochs: int, resume: Any = None) -> rv.Trainer:
    rv.manual_seed(1)
    run = trainer(network())
    schedule = rv.train.Schedule(optim.lr_scheduler.StepLR(run.optimizer, 3))
    callbacks = [schedule, rv.Checkpoint(folder, keep=1, best=False)]
    run.fit(*data(), epochs=epochs, batch_size=8, resume=resume, callbacks=callbacks, verbose=0)
    return run


def scores(model: nn.Module) -> list[list[float]]:
    with rv.no_grad():
        return model.eval()(rv.tensor(data()[0][:4])).tolist()


def main() -> None:
    folder = Path(__file__).parent / rv.__version__
    stopped = fit(folder, STOPPED)
    stopped.save(folder / "trainer.safetensors")
    model = stopped.model.eval()
    rv.save(model, folder / "model.safetensors", class_names=["a", "b", "c"], input_shape=(1, 8, 8))
    rv.save(
        {"weights": model.state_dict(), "epoch": STOPPED, "names": ["a", None]}, folder / "dict.safetensors"
    )
    expected = {"scores": scores(model)}
    with tempfile.TemporaryDirectory() as other:
        expected["scores_of_all_epochs"] = scores(fit(Path(other), EPOCHS).model)
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
