"""Libraries that derive classes from Tensor and layers, replace functions, or take modules apart as trees."""

import os

import torch
from common import fill, labels, normal
from torch import from_numpy, nn
from torch.nn import functional as F


def pypose():
    """Poses, a class of Tensors with its own addition, are fitted by SGD with and without momentum."""
    import pypose as pp

    wanted = pp.so3(torch.tensor([[0.3, -0.2, 0.1]])).Exp()
    answer = {}
    for momentum in (0.0, 0.9):
        pose = pp.Parameter(pp.so3(torch.tensor([[0.1, 0.2, 0.3]])).Exp())
        optimizer = torch.optim.SGD([pose], lr=0.1, momentum=momentum)
        losses = []
        for _ in range(6):
            optimizer.zero_grad()
            loss = (pose.Inv() @ wanted).Log().tensor().square().sum()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        answer[f"losses_{momentum}"] = losses
        answer[f"pose_{momentum}"] = pose.tensor()
    return answer


def torchopt():
    """Two steps of an inner optimizer, through which the outer gradient passes: it replaces the parameters in
    each module's tables, which it takes apart as trees."""
    import torchopt

    x = from_numpy(normal(16, 6))
    y = from_numpy(labels(16, classes=3))
    answer = {}
    for name in ("MetaSGD", "MetaAdam"):
        network = nn.Sequential(fill(nn.Linear(6, 8)), nn.Tanh(), fill(nn.Linear(8, 3)))
        inner = getattr(torchopt, name)(network, lr=0.1)
        scale = torch.tensor(1.0, requires_grad=True)
        for _ in range(2):
            inner.step(F.cross_entropy(network(x) * scale, y))
        outer = F.cross_entropy(network(x), y)
        outer.backward()
        answer[name] = [outer.item(), scale.grad.item()]
    return answer


def ptflops():
    """Operations of layers and functions are counted by functions that it puts into torch.nn.functional."""
    from ptflops import get_model_complexity_info

    class Functions(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return F.adaptive_avg_pool2d(F.relu(self.conv(x)), 1).flatten(1) @ torch.ones(4, 4)

    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2048, 9),
    )
    encoder = nn.Sequential(nn.Linear(8, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True))
    answer = {}
    for name, model, shape in (
        ("layers", layers, (3, 32, 32)),
        ("functions", Functions(), (3, 32, 32)),
        ("encoder", encoder, (5, 8)),
    ):
        counts = get_model_complexity_info(
            model, shape, as_strings=False, print_per_layer_stat=False, backend="pytorch"
        )
        answer[name] = [float(count) for count in counts]
    return answer


def e3nn():
    """Equivariant products, layers and norms, whose code the library writes."""
    from e3nn import o3
    from e3nn.nn import BatchNorm, FullyConnectedNet

    irreps = o3.Irreps("4x0e + 3x1o + 2x2e")
    x, places = from_numpy(normal(6, irreps.dim)), from_numpy(normal(6, 3, seed=1)).requires_grad_()
    harmonics = o3.spherical_harmonics([0, 1, 2], places, normalize=True)
    product = fill(o3.FullyConnectedTensorProduct(irreps, o3.Irreps.spherical_harmonics(2), irreps))
    linear, norm = fill(o3.Linear(irreps, irreps)), BatchNorm(irreps)
    y = norm(linear(product(x, harmonics)))
    (y * x).mean().backward()
    network = fill(FullyConnectedNet([3, 8, 2], torch.tanh))
    return {
        "harmonics": harmonics.detach(),
        "y": y.detach(),
        "gradients": [p.grad.norm().item() for p in (*product.parameters(), *linear.parameters())],
        "places": places.grad,
        "network": network(places).detach(),
    }


def keras():
    """Layers of Keras on its backend torch: networks of images and of sequences are fitted and predict."""
    os.environ["KERAS_BACKEND"] = "torch"
    from keras import Input, Model, Sequential, layers, optimizers

    images = [
        layers.Conv2D(4, 3, activation="relu", padding="same"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(),
        layers.DepthwiseConv2D(3),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ]
    steps = Input((7, 6))
    attended = layers.MultiHeadAttention(2, 4)(steps, steps)
    sequence = layers.LSTM(5)(layers.LayerNormalization()(attended))
    answer = {}
    for name, model, shape in (
        ("images", Sequential([Input((8, 8, 2)), *images]), (12, 8, 8, 2)),
        ("sequence", Model(steps, layers.Dense(3, activation="softmax")(sequence)), (12, 7, 6)),
    ):
        values = [weight.shape for weight in model.trainable_weights]
        for weight, value in zip(model.trainable_weights, values, strict=True):
            weight.assign(normal(*value, seed=len(value), scale=0.3))
        model.compile(optimizer=optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
        x, y = normal(*shape), labels(12, classes=3)
        history = model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
        answer[f"losses_{name}"] = history.history["loss"]
        answer[f"predicted_{name}"] = from_numpy(model.predict(x, verbose=0).copy())
    return answer


def torch_ema():
    """The running mean of parameters, in whose place the network computes for a block."""
    from torch_ema import ExponentialMovingAverage

    network = nn.Sequential(fill(nn.Linear(6, 8)), nn.Tanh(), fill(nn.Linear(8, 3)))
    x, y = from_numpy(normal(16, 6)), from_numpy(labels(16, classes=3))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    mean = ExponentialMovingAverage(network.parameters(), decay=0.9)
    for _ in range(5):
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
        mean.update()
    with mean.average_parameters():
        averaged = network(x).detach()
    return {"averaged": averaged, "trained": network(x).detach()}
