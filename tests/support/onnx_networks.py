"""Networks and helpers for the tests of ONNX files."""

from typing import Any

import numpy as np
import ranvier as rv
from ranvier import nn

Arrays = tuple[np.ndarray, ...]


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def tokens(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 11, shape)


class Words(nn.Module):
    """Token ids (N, steps) to scores (N, 11): an LSTM in two layers and two directions, and a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.lstm = nn.LSTM(6, 8, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(16, 8, batch_first=True)
        self.head = nn.Linear(8, 11)

    def forward(self, ids: Any) -> Any:
        y, _ = self.lstm(self.embed(ids))
        y, _ = self.gru(y)
        return self.head(y[:, -1])


class Encoder(nn.Module):
    """Token ids (N, steps) to scores (N, 11): positions, a padding mask and two encoder layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.places = nn.Embedding(11, 8), nn.Embedding(20, 8)
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
        self.head = nn.Linear(8, 11)

    def forward(self, ids: Any) -> Any:
        x = self.embed(ids) + self.places(rv.arange(ids.shape[1]))
        return self.head(self.layers(x, src_key_padding_mask=ids == 0).mean(1))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Any) -> Any:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += identity
        return self.relu(out)


class ResNet18(nn.Module):
    """ResNet-18 with fewer channels: (N, 3, H, W) to (N, 11)."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        inputs = width
        for k in range(4):
            outputs = width * 2**k
            stage = nn.Sequential(Block(inputs, outputs, 1 if k == 0 else 2), Block(outputs, outputs, 1))
            setattr(self, f"layer{k + 1}", stage)
            inputs = outputs
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(inputs, 11)

    def forward(self, x: Any) -> Any:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(rv.flatten(self.avgpool(x), 1))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3),
        nn.ReLU(inplace=True),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(72, 11),
    )


def with_statistics(model: nn.Module) -> nn.Module:
    """The model with running statistics that are not those of a new layer."""
    rng = np.random.default_rng(1)
    with rv.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.copy_(rng.uniform(0.5, 1.5, buffer.shape).astype(np.float32))
    return model


NETWORKS: dict[str, tuple[Any, Arrays, dict[int, str]]] = {
    # the network, example inputs of two sizes, the dynamic axes
    "cnn": (cnn, (drawn(2, 1, 16, 16), drawn(5, 1, 16, 16)), {0: "batch"}),
    "lstm": (Words, (tokens(2, 5), tokens(4, 3)), {0: "batch", 1: "steps"}),
    "encoder": (Encoder, (tokens(2, 5), tokens(1, 9)), {0: "batch", 1: "steps"}),
    "resnet18": (ResNet18, (drawn(2, 3, 32, 32), drawn(1, 3, 40, 48)), {0: "batch", 2: "height", 3: "width"}),
}


def flat(value: Any) -> list[Any]:
    """The arrays of nested tuples of Tensors and arrays."""
    if isinstance(value, (tuple, list)):
        return [array for item in value for array in flat(item)]
    return [value.detach().numpy() if isinstance(value, rv.Tensor) else value]


def session(path: Any) -> Any:
    """The file in onnxruntime: a function of arrays that returns a list of arrays."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    found = onnxruntime.InferenceSession(str(path), options)
    names = [i.name for i in found.get_inputs()]
    return lambda *arrays: found.run(None, dict(zip(names, arrays, strict=True)))
