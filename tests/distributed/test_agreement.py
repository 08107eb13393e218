"""A distributed Trainer: losses that weight classes, and runs that differ between ranks."""

from support.ranks import results

LOSSES = """
import hashlib
import numpy as np, ranvier as rv
from support.ranks import tell
nn = rv.nn
rng = np.random.default_rng(0)
x = rng.standard_normal((51, 6)).astype(np.float32)
y = rng.integers(0, 3, 51)
y[:10] = 0  # whole parts of a batch are ignored
weight = np.array([1, 5, 0.1], np.float32)
losses = {
    "weight": (nn.CrossEntropyLoss(weight), {}),
    "ignored": (nn.CrossEntropyLoss(ignore_index=0), {"accumulate": 2}),
    "smooth": (nn.CrossEntropyLoss(weight, ignore_index=1, label_smoothing=0.2), {"compile": False}),
    "nll": (nn.NLLLoss(weight, ignore_index=2), {"clip_grad_norm": 0.1}),
    "focal": (nn.FocalLoss(alpha=weight, ignore_index=0), {}),
}
def run(loss, distributed, loader, **settings):
    rv.manual_seed(0)
    last = [nn.LogSoftmax(-1)] if isinstance(loss, nn.NLLLoss) else []
    model = nn.Sequential(nn.Linear(6, 3), *last)
    trainer = rv.Trainer(model, loss, "sgd", lr=0.1, distributed=distributed, **settings)
    data = [(x[i : i + 16], y[i : i + 16]) for i in range(0, 51, 16)]
    if loader:
        history = trainer.fit(data, epochs=2)
    else:
        history = trainer.fit(x, y, epochs=2, batch_size=16, shuffle=False)
    return model[0].weight.detach().numpy(), history["loss"]
said = {}
for name, (loss, settings) in losses.items():
    expected, curve = run(loss, False, False, **settings)
    for loader in (False, True):
        found, losses = run(loss, True, loader, **settings)
        assert np.allclose(found, expected, rtol=0, atol=1e-6), name
        assert np.allclose(losses, curve, rtol=1e-6), name
        said[f"{name} {loader}"] = hashlib.sha256(found.tobytes()).hexdigest()
tell(said)
"""


def test_weighted_losses_are_those_of_one_process():
    two, four = results(2, LOSSES), results(4, LOSSES)
    assert len(two[0]) == 10
    assert all(said == two[0] for said in (*two, *four))


DIFFERENT = """
import numpy as np, ranvier as rv
from support.ranks import tell
nn, r = rv.nn, rv.distributed.rank()
x = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)
y = (x[:, 0] > 0).astype(np.int64)
def message(*data, model=None, loss=None, evaluate=False, **settings):
    rv.manual_seed(0)
    model = model or nn.Linear(4, 2)
    trainer = rv.Trainer(model, loss or nn.CrossEntropyLoss(), "sgd", lr=0.1, distributed=True)
    try:
        trainer.evaluate(*data) if evaluate else trainer.fit(*data, epochs=1, **settings)
    except ValueError as error:
        return str(error)
def loader(first, second):
    return [(x[:16] + first * r, y[:16]), (x[16:32] + second * r, y[16:32])]
class Changes(rv.Callback):
    def on_batch_end(self, *about):
        if r:
            model.weight.detach()[0] = 5.0
model, frozen = nn.Linear(4, 2), nn.Linear(4, 2)
frozen.weight.requires_grad_(r == 0)
dataset = rv.data.TensorDataset(rv.tensor(x), rv.tensor(y))
sampler = rv.distributed.DistributedSampler(dataset)
tell([
    message(loader(1, 0)),
    message(loader(0, 1)),
    message(rv.data.DataLoader(dataset, batch_size=16, sampler=sampler)),
    message(x, y, model=model, callbacks=[Changes()]),
    message(x, y, model=frozen),
    message(x, y, loss=nn.CrossEntropyLoss(label_smoothing=0.1 * r)),
    message(x, y, model=nn.parallel.DistributedDataParallel(nn.Linear(4, 2))),
    message(x[: 32 + r], y[: 32 + r], evaluate=True),
    message(x, y),
])
"""


def test_runs_that_differ_are_refused():
    batches = "[Trainer.fit] got a loader whose batches on rank 1 differ from those on rank 0"
    for said in results(2, DIFFERENT):
        assert said[0].startswith(batches)
        assert said[1].startswith(batches)
        assert said[2].startswith("[Trainer.fit] got a loader with a DistributedSampler")
        assert said[3].startswith("[Trainer.fit] got weights on rank 1 that differ from those on rank 0")
        assert "trained: ['bias'] there, ['weight', 'bias'] here" in said[4]
        assert "settings of the loss: label_smoothing: 0.1 there, 0.0 here" in said[5]
        assert said[6].startswith("[Trainer.fit] got a DistributedDataParallel with distributed=True")
        assert "[Trainer.evaluate] got different data" in said[7]
        assert "samples: 33 there, 32 here" in said[7]
        assert said[8] is None
