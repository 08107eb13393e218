"""Networks that PyTorch wrote."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import ranvier as rv

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
torch = pytest.importorskip("torch", reason="torch is not installed")

nn, F = torch.nn, torch.nn.functional


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.lstm = nn.LSTM(6, 8, batch_first=True, bidirectional=True, num_layers=2)
        self.gru, self.head = nn.GRU(16, 8, batch_first=True), nn.Linear(8, 11)

    def forward(self, ids):
        y, _ = self.lstm(self.embed(ids))
        y, _ = self.gru(y)
        return self.head(y[:, -1])


class Residual(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.a, self.b = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs)
        self.c, self.d = nn.Conv2d(outputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs)
        self.k = nn.Conv2d(inputs, outputs, 1, 2)

    def forward(self, x):
        return torch.relu(self.d(self.c(torch.relu(self.b(self.a(x))))) + self.k(x))


class Images(nn.Module):
    """Transposed convolution, other norms, other sizes, padding, slices and statistics."""

    def __init__(self):
        super().__init__()
        self.up, self.group = nn.ConvTranspose2d(3, 4, 3, 2, 1, 1), nn.GroupNorm(2, 4)
        self.instance = nn.InstanceNorm2d(4, affine=True)

    def forward(self, x):
        y = self.instance(self.group(self.up(x)))
        y = F.interpolate(y, scale_factor=2, mode="bilinear")
        y = F.interpolate(y, size=(7, 9), mode="nearest")
        y = F.pad(y, (1, 2, 1, 0), mode="reflect").permute(0, 2, 3, 1).flatten(1).clamp(-1, 1)
        std = torch.where(x > 0, x, x * 0.5).std(dim=(1, 2))
        return y, std, x.topk(2, dim=1).values, F.normalize(x, dim=1), x[:, 1:, ::2].mean((2, 3))


def networks():
    layers = (nn.Linear(4, 8), nn.GELU(), nn.Dropout(), nn.Linear(8, 3), nn.SiLU(), nn.LogSoftmax(-1))
    images = (nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6(), nn.MaxPool2d(2, ceil_mode=True))
    more = (nn.AvgPool2d(3, 1, 1), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    residual = (Residual(3, 4), Residual(4, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
    return {
        "mlp": (nn.Sequential(*layers), torch.randn(2, 4)),
        "cnn": (nn.Sequential(*images, *more), torch.randn(2, 3, 9, 9)),
        "residual": (nn.Sequential(*residual), torch.randn(2, 3, 16, 16)),
        "words": (Words(), torch.randint(0, 11, (2, 5))),
        "encoder": (nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), torch.randn(2, 5, 8)),
        "images": (Images(), torch.randn(2, 3, 8, 8)),
        "corners": (
            nn.Upsample(scale_factor=1.6, mode="bilinear", align_corners=True),
            torch.randn(2, 3, 7, 6),
        ),
    }


@pytest.mark.parametrize("name", ["mlp", "cnn", "residual", "words", "encoder", "images", "corners"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])
def test_import(name, training):
    """Written in evaluation mode with merged norms, and in training mode with all parameters."""
    torch.manual_seed(0)
    model, x = networks()[name]
    model.train(training)
    mode = torch.onnx.TrainingMode.TRAINING if training else torch.onnx.TrainingMode.EVAL
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (x,),
            file,
            dynamo=False,
            input_names=["x"],
            dynamic_axes={"x": {0: "batch"}},
            training=mode,
            do_constant_folding=not training,
        )
    found = rv.onnx.load(onnx.load_from_string(file.getvalue()))
    model.eval()
    for given in (x, torch.cat([x, x, x])):
        with torch.no_grad():
            wanted = model(given)
        got = found(given.numpy())
        pairs = zip(got, wanted, strict=True) if isinstance(wanted, tuple) else [(got, wanted)]
        for y, z in pairs:
            np.testing.assert_allclose(y.detach().numpy(), z.numpy(), rtol=1e-5, atol=1e-5)
    if training:
        if any(True for _ in model.parameters()):
            results = found.train()(x.numpy())  # PyTorch writes the masks of dropout as second results
            sum(y.sum() for y in (results if isinstance(results, tuple) else (results,))).backward()
        state = {k for k in model.state_dict() if not k.endswith("num_batches_tracked")}
        assert found.state_dict().keys() == state
        assert all(b.startswith(tuple(state)) for b, _ in found.named_buffers())
