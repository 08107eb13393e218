"""set_default_dtype beside PyTorch's: the dtype of each result of creations, operations and layers."""

import numpy as np
import pytest
import ranvier as rv

torch = pytest.importorskip("torch")

CALLS = """
t.tensor([1.5, 2]) | t.tensor(1.5) | t.tensor([]) | t.tensor([1, 2]) | t.tensor([True])
t.tensor([[1, 2.5]]) | t.as_tensor([1.5]) | t.as_tensor([np.float32(1)]) | t.tensor(np.ones(2, "f"))
t.tensor([np.float64(1)]) | t.Tensor([1, 2]) | t.Tensor(2, 3) | t.Tensor() | t.FloatTensor([1])
t.DoubleTensor([1]) | t.asarray([1.5]) | t.zeros(2) | t.ones(2) | t.empty(2) | t.rand(2) | t.randn(2)
t.eye(2) | t.full((2,), 1.5) | t.full((2,), 1) | t.arange(3) | t.arange(3.0) | t.arange(0, 1, 0.5)
t.linspace(0, 1, 3) | t.logspace(0, 1, 3) | t.zeros_like(t.tensor([1])) | t.rand_like(t.zeros(2))
t.randn(2, generator=t.Generator()) | t.scalar_tensor(2) | t.zeros(2, dtype=t.float32)
t.rand(2, dtype=t.float32) | t.randperm(3) | t.randint(3, (2,)) | t.tensor([1]).new_tensor([1.5])
t.tensor([1]).new_zeros(2) | t.normal(0.0, 1.0, (2,)) | t.bernoulli(t.rand(2)) | t.arange(3) / 2
t.arange(3) * 0.5 | t.arange(3) + 1.5 | t.arange(3) ** 0.5 | t.arange(3) * 2 | 2.5 - t.arange(3)
t.zeros(2, dtype=t.float32) * 0.5 | t.zeros(2, dtype=t.float16) + 1.5 | t.tensor([True]) * 0.5
1 / t.arange(1, 3) | t.sin(t.arange(3)) | t.exp(t.arange(3)) | t.sqrt(t.arange(3))
t.sigmoid(t.arange(3)) | t.tanh(t.arange(3)) | t.log(t.arange(1, 3)) | t.atan2(t.arange(3), t.arange(3))
t.erf(t.arange(3)) | t.rsqrt(t.arange(1, 3)) | t.div(t.arange(3), 2)
t.div(t.arange(3), 2, rounding_mode="floor") | t.true_divide(t.arange(3), 2) | t.pow(t.arange(3), 2)
t.pow(2.5, t.arange(3)) | t.mean(t.arange(3.0)) | t.arange(3).float() | t.arange(3).double()
t.where(t.tensor([True]), 1.5, 2.5) | t.where(t.tensor([True]), t.arange(1), 2.5)
t.clamp(t.arange(3), 0.5) | t.cumsum(t.tensor([1.5]), 0) | t.nn.functional.one_hot(t.arange(3))
t.bincount(t.arange(3)) | t.cat([t.tensor([1.5]), t.tensor([1])]) | t.stack([t.zeros(1), t.ones(1)])
t.softmax(t.zeros(2), 0) | t.nn.functional.softmax(t.zeros(2), 0, dtype=t.float32) | t.histc(t.rand(4))
t.maximum(t.arange(2), t.rand(2)) | t.nn.Parameter(t.zeros(2)) | t.outer(t.rand(2), t.rand(2))
t.tensor(2) * 0.5 | t.tensor(2.5) * t.ones(1, dtype=t.float32) | t.block_diag(t.rand(1, 1))
t.logit(t.rand(2)) | t.lerp(t.zeros(2), t.ones(2), 0.5) | t.deg2rad(t.arange(3))
t.nn.functional.dropout(t.ones(4)) | t.nn.functional.gelu(t.zeros(2))
t.cdist(t.rand(2, 2), t.rand(2, 2)) | t.result_type(t.arange(2), 1.5)
t.promote_types(t.int64, t.float32) | t.get_default_dtype() | t.dist(t.rand(2), t.rand(2))
t.std(t.rand(3)) | t.var(t.rand(3)) | t.norm(t.rand(3)) | t.linalg.norm(t.rand(3))
t.searchsorted(t.rand(3), t.rand(2)) | t.quantile(t.rand(3), 0.5) | t.isclose(t.rand(2), t.rand(2))
t.empty(0) | t.nn.utils.parameters_to_vector([t.rand(2)])
t.addcmul(t.rand(2), t.rand(2), t.rand(2), value=0.5) | t.tril(t.ones(2, 2))
t.nn.init.xavier_uniform_(t.empty(2, 2)) | t.nn.init.orthogonal_(t.empty(2, 2))
t.nn.functional.interpolate(t.rand(1, 1, 2, 2), scale_factor=2) | t.nn.functional.pad(t.rand(2), (1, 1))
t.nn.functional.mse_loss(t.rand(2), t.rand(2))
"""
LAYERS = """
Linear(2, 3) | Bilinear(2, 2, 3) | Conv1d(2, 3, 1) | Conv2d(2, 3, 1) | ConvTranspose2d(2, 3, 1)
BatchNorm1d(3) | BatchNorm2d(2) | LayerNorm(3) | GroupNorm(1, 2) | InstanceNorm2d(2, affine=True)
RMSNorm(3) | PReLU() | Embedding(3, 2) | EmbeddingBag(3, 2) | RNN(2, 3) | LSTM(2, 3) | GRU(2, 3)
LSTMCell(2, 3) | GRUCell(2, 3) | MultiheadAttention(4, 2) | TransformerEncoderLayer(4, 2, 8)
TransformerDecoderLayer(4, 2, 8) | RNNCell(2, 3) | CrossEntropyLoss(t.ones(3))
BCEWithLogitsLoss(pos_weight=t.ones(2)) | LazyLinear(3)
utils.spectral_norm(t.nn.Linear(2, 3))
"""


def rows(text):
    return [row.strip() for line in text.strip().splitlines() for row in line.split(" | ")]


@pytest.fixture(params=["float32", "float64"])
def both(request):
    for library in (rv, torch):
        library.set_default_dtype(getattr(library, request.param))
    yield
    for library in (rv, torch):
        library.set_default_dtype(library.float32)


def shown(value):
    return str(value if str(value).startswith("torch.") else value.dtype)


@pytest.mark.parametrize("call", rows(CALLS))
def test_results(both, call):
    expected = shown(eval(call, {"t": torch, "np": np}))
    assert shown(eval(call, {"t": rv, "np": np})) == expected


@pytest.mark.parametrize("layer", rows(LAYERS))
def test_layers(both, layer):
    def dtypes(library):
        made = eval(f"t.nn.{layer}", {"t": library})
        if hasattr(made, "in_features") and made.in_features == 0:
            made(library.zeros(2, 4))
        return {name: shown(x) for name, x in made.state_dict().items()}

    assert dtypes(rv) == dtypes(torch)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "LBFGS"])
def test_a_step_of_training(both, name):
    def losses(t):
        layer = t.nn.Linear(3, 1)
        layer.load_state_dict({"weight": t.tensor([[0.5, -0.25, 1]]), "bias": t.tensor([0.1])})
        optimizer = getattr(t.optim, name)(layer.parameters(), lr=0.1)
        scheduler = t.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        x, out = t.linspace(-1, 1, 12).reshape(4, 3), []
        for _ in range(4):

            def closure():
                optimizer.zero_grad()
                loss = (layer(x) - t.arange(4).reshape(4, 1) / 3).square().mean()
                loss.backward()
                return loss

            out.append(optimizer.step(closure))
            scheduler.step()
        return out

    ours, theirs = losses(rv), losses(torch)
    assert [shown(x) for x in ours] == [shown(x) for x in theirs]
    tolerance = 1e-12 if rv.get_default_dtype() is rv.float64 else 1e-5
    np.testing.assert_allclose([x.item() for x in ours], [x.item() for x in theirs], rtol=tolerance)
