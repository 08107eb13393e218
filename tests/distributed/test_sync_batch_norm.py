"""SyncBatchNorm: the statistics of all parts of a batch, on one rank or several."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.distributed.sync_norm import Parts, meeting
from ranvier.nn.arguments import arguments_of
from support.ranks import told_in_turn
from support.refused import refused

SHAPES = [(3, 2), (1, 2), (4, 2), (1, 2), (2, 2)]
IMAGES = [(2, 3, 4, 5), (1, 3, 4, 5), (0, 3, 4, 5)]


def network(norm, shape):
    """Two norms, so that the second gets what the first has mixed."""
    rv.manual_seed(0)
    model = nn.Sequential(norm(shape[1]), nn.Tanh(), norm(shape[1]))
    for p in model.parameters():
        p._array = np.random.default_rng(p.ndim).standard_normal(p.shape)
    return model.double()


def batches(shapes, offset):
    rng = np.random.default_rng(1)
    return [rng.standard_normal(shape) + offset for shape in shapes]


def loss_of(y):
    return ((y - 0.3) ** 3).sum()


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("shapes", [SHAPES, IMAGES])
def test_parts_are_normalised_as_one_batch(shapes, offset):
    model, xs = network(nn.SyncBatchNorm, shapes[0]), batches(shapes, offset)
    parts = Parts(list(model.parameters()), list(model.buffers()))
    inputs = [rv.tensor(x, requires_grad=True) for x in xs]
    outputs, sums = {}, [0.0] * len(list(model.parameters()))
    buffers = []

    def compute(i):
        for p in model.parameters():
            p.grad = None
        outputs[i] = model(inputs[i])
        loss_of(outputs[i]).backward()
        for number, p in enumerate(model.parameters()):
            sums[number] = sums[number] + p.grad.numpy()
        buffers.append([b.numpy().copy() for b in model.buffers()])

    parts.run([lambda i=i: compute(i) for i in range(len(xs))], lambda rows: rows)
    assert [b.tolist() for b in buffers[0]] == [b.tolist() for b in buffers[-1]]
    assert model[0].num_batches_tracked.item() == 0  # each part began with the same buffers

    one = network(nn.BatchNorm1d if len(shapes[0]) == 2 else nn.BatchNorm2d, shapes[0])
    whole = rv.tensor(np.concatenate(xs), requires_grad=True)
    y = one(whole)
    loss_of(y).backward()
    close = {"rtol": 1e-9, "atol": 1e-9 * (1 + offset)}
    np.testing.assert_allclose(
        np.concatenate([outputs[i].detach().numpy() for i in range(len(xs))]), y.detach().numpy(), **close
    )
    np.testing.assert_allclose(np.concatenate([x.grad.numpy() for x in inputs]), whole.grad.numpy(), **close)
    for found, p in zip(sums, one.parameters(), strict=True):
        np.testing.assert_allclose(found, p.grad.numpy(), **close)
    for found, buffer in zip(buffers[0], one.buffers(), strict=True):
        np.testing.assert_allclose(found, buffer.numpy(), **close)


def test_one_part_is_batch_norm():
    x = rv.tensor(np.random.default_rng(0).standard_normal((5, 3, 2)).astype(np.float32))
    ours, theirs = nn.SyncBatchNorm(3), nn.BatchNorm1d(3)
    assert (ours(x) == theirs(x)).all()
    assert (ours.running_var.numpy() == theirs.running_var.numpy()).all()
    assert (ours.eval()(x) == theirs.eval()(x)).all()


def run(works, model):
    Parts(list(model.parameters()), list(model.buffers())).run(works, lambda rows: rows)


def test_mistakes():
    layer = nn.SyncBatchNorm(2)
    with meeting(lambda values, add: values):
        for x, error, message in (
            (rv.ones(2, 3), ValueError, "got x with 3 channels; expected num_features, 2"),
            (rv.ones(4), ValueError, r"expected 2 dimensions \(N, C\) or 3"),
            (rv.ones(1, 2), ValueError, "no other values on all ranks"),
            (rv.ones(3, 2).double(), TypeError, "dtype"),
        ):
            with pytest.raises(error, match=message):
                layer(x)
        y = layer(rv.ones(3, 2, requires_grad=True)).sum()
        refused(NotImplementedError, "twice", rv.autograd.grad, y, layer.weight, create_graph=True)
    refused(ValueError, "got process_group 'some'; expected None", nn.SyncBatchNorm, 2, process_group="some")
    with pytest.raises(RuntimeError, match="parts of a batch that reach different layers"):
        run([lambda: layer(rv.ones(2, 2)), lambda: None], layer)

    def fails():
        layer(rv.ones(2, 2))
        raise KeyError("of the second part")

    refused(KeyError, "of the second part", run, [lambda: layer(layer(rv.ones(2, 2))), fails], layer)
    assert layer.num_batches_tracked.item() == 1  # from the call above


@pytest.mark.parametrize("make", [nn.DataParallel, nn.SyncBatchNorm.convert_sync_batchnorm])
def test_what_is_no_module(make):
    with pytest.raises(TypeError, match=r"\[(DataParallel|convert_sync_batchnorm)\] got a int; expected a"):
        make(3)


def test_convert():
    shared = nn.BatchNorm1d(4, momentum=0.3, bias=False, dtype=np.float64)
    model = nn.Sequential(
        nn.Linear(4, 4), shared, nn.Sequential(nn.BatchNorm2d(3, affine=False), shared)
    ).eval()
    weight, names = shared.weight, list(model.state_dict())
    new = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert new is model
    assert isinstance(model[1], nn.SyncBatchNorm)
    assert model[1] is model[2][1]
    assert model[1].weight is weight
    assert list(model.state_dict()) == names
    assert (model[1].momentum, model[1].bias, model[1].training) == (0.3, None, False)
    assert isinstance(nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm1d(2)), nn.SyncBatchNorm)
    assert nn.SyncBatchNorm.convert_sync_batchnorm(model)[1] is model[1]
    assert arguments_of(model[1])["dtype"] == "float64"
    with pytest.raises(ValueError, match="got a LazyBatchNorm2d without sizes"):
        nn.SyncBatchNorm.convert_sync_batchnorm(nn.LazyBatchNorm2d())


LOOP = """
d.init(timeout=20)
r, n = d.rank(), d.size()
rv.manual_seed(0)
inner = rv.nn.Sequential(rv.nn.Linear(4, 8), rv.nn.BatchNorm1d(8), rv.nn.Tanh(), rv.nn.Linear(8, 1))
model = d.DistributedDataParallel(rv.nn.SyncBatchNorm.convert_sync_batchnorm(inner))
x = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
rows = x[:1] if r == 0 else x[1:][r - 1 :: n - 1]  # one sample on rank 0
(model(rows) ** 2).sum().backward()
grads = [p.grad.tolist() for p in inner.parameters()]
state = {k: v.tolist() for k, v in inner.state_dict().items()}
said = []
try:
    rv.compile(lambda rows: model(rows).sum(), strict=True)(rows)
except rv.CaptureError as error:
    said.append(str(error))
try:
    with rv.no_grad():
        rv.nn.SyncBatchNorm(2 + r)(rv.ones(3, 2 + r))
except ValueError as error:
    said.append(str(error))
tell([grads, state, said])
"""


def test_with_data_parallel():
    told = told_in_turn(3, LOOP)
    assert told[0][:2] == told[1][:2] == told[2][:2]
    grads, state, (captured, differ) = told[0]
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
    x = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
    ((model(x) ** 2).sum() / 3).backward()
    for found, p in zip(grads, model.parameters(), strict=True):
        np.testing.assert_allclose(found, p.grad.numpy(), rtol=1e-4, atol=1e-5)
    for name in ("1.running_mean", "1.running_var"):
        np.testing.assert_allclose(state[name], model.state_dict()[name].numpy(), rtol=1e-4, atol=1e-6)
    assert "exchanges" in captured
    assert "rank 0: SyncBatchNorm of 2 channels" in differ


def test_a_trainer_normalises_the_whole_batch():
    """Eight parts as one; the parts of ordinary batch norm differ."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((48, 6)).astype(np.float32), rng.integers(0, 3, 48)
    found = {}
    for name, norm, settings in (
        ("parts", nn.SyncBatchNorm, {}),
        ("whole", nn.BatchNorm1d, {"shards": 1}),
        ("apart", nn.BatchNorm1d, {}),
    ):
        rv.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), norm(8), nn.ReLU(), nn.Linear(8, 3))
        trainer = rv.Trainer(model, "cross_entropy", "sgd", lr=0.1, distributed=True, **settings)
        if name == "parts":
            with pytest.warns(UserWarning, match="SyncBatchNorm exchanges statistics within a step"):
                trainer.fit(x, y, epochs=3, batch_size=24, verbose=False)
            trainer.fit(x, y, epochs=1, batch_size=24, verbose=False)  # said once
        else:
            trainer.fit(x, y, epochs=3, batch_size=24, verbose=False)
            trainer.fit(x, y, epochs=1, batch_size=24, verbose=False)
        found[name] = np.concatenate([v.numpy().reshape(-1) for v in model.state_dict().values()])
    np.testing.assert_allclose(found["parts"], found["whole"], rtol=1e-4, atol=1e-5)
    assert np.abs(found["apart"] - found["whole"]).max() > 1e-3
