"""foolbox: attacks on a network within bounds."""

import foolbox
import torch
from foolbox import attacks
from torch import nn
from weights import fill, labels, uniform

_BOUND = "FGSM LinfBasicIterativeAttack LinfPGD L2PGD L1PGD L2FastGradientAttack L2AdamPGD LinfAdamPGD"
_FREE = {
    "L2DeepFoolAttack": {"steps": 5},
    "LinfDeepFoolAttack": {"steps": 5},
    "L2CarliniWagnerAttack": {"steps": 5, "binary_search_steps": 2},
    "EADAttack": {"steps": 5, "binary_search_steps": 2},
    "DDNAttack": {"steps": 5},
    "InversionAttack": {},
}


def job():
    """Each attack on eight images."""
    network = fill(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Softplus(), nn.Flatten(), nn.Linear(288, 4))).eval()
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    x, wanted, answer = torch.from_numpy(uniform(8, 3, 8, 8)), torch.from_numpy(labels(8, classes=4)), {}
    for name in _BOUND.split():
        settings = {} if "Fast" in name or name == "FGSM" else {"steps": 5, "random_start": False}
        attack = getattr(attacks, name, None) or getattr(foolbox.attacks, name)
        answer[name] = attack(**settings)(model, x, wanted, epsilons=0.1)[1]
    for name, settings in _FREE.items():
        answer[name] = getattr(attacks, name)(**settings)(model, x, wanted, epsilons=None)[1]
    return answer
