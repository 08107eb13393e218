"""zennit: relevance by rules of layers, and the attributors over them."""

import torch
from torch import nn
from weights import fill, normal
from zennit import attribution, composites

_COMPOSITES = """
    EpsilonPlus EpsilonAlpha2Beta1 EpsilonGammaBox EpsilonPlusFlat GuidedBackprop ExcitationBackprop DeconvNet
"""


def job():
    """Each on eight images."""
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(72, 16),
        nn.ReLU(),
        nn.Linear(16, 4),
    )
    fill(network).eval()
    x, wanted, answer = torch.from_numpy(normal(8, 3, 8, 8)), torch.eye(4)[torch.arange(8) % 4], {}
    for name in _COMPOSITES.split():
        box = {"low": x - 3, "high": x + 3} if "Box" in name else {}
        with attribution.Gradient(network, getattr(composites, name)(**box)) as attributor:
            answer[name] = attributor(x, wanted)[1]
    with attribution.IntegratedGradients(network, n_iter=5) as attributor:
        answer["IntegratedGradients"] = attributor(x, wanted)[1]
    with attribution.Occlusion(network, window=4, stride=4) as attributor:
        answer["Occlusion"] = attributor(x, wanted)[1]
    return answer
