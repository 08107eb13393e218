"""torchattacks: images that a network takes for another class."""

import torch
import torchattacks
from torch import nn
from weights import fill, labels, uniform

_ATTACKS = {
    "FGSM": {},
    "BIM": {"steps": 4},
    "PGD": {"steps": 4, "random_start": False},
    "PGDL2": {"steps": 4, "random_start": False},
    "MIFGSM": {"steps": 4},
    "NIFGSM": {"steps": 4},
    "CW": {"steps": 5},
    "DeepFool": {"steps": 5},
    "APGD": {"steps": 4},
    "VMIFGSM": {"steps": 3, "N": 2},
}


def job():
    """Each attack on eight images."""
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Softplus(), nn.Flatten(), nn.Linear(288, 4))
    fill(network).eval()
    x, wanted = torch.from_numpy(uniform(8, 3, 8, 8)), torch.from_numpy(labels(8, classes=4))
    return {name: getattr(torchattacks, name)(network, **s)(x, wanted) for name, s in _ATTACKS.items()}
