"""Libraries that derive classes from Tensor and layers, replace functions, or take modules apart as trees."""

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
