"""snntorch: networks of spiking neurons are trained through surrogate gradients."""

import snntorch as snn
import torch
from snntorch import functional, spikegen, surrogate, utils
from torch import nn
from weights import fill, labels, normal, uniform

_NEURONS = {
    "Leaky": {"beta": 0.9},
    "Lapicque": {"beta": 0.9},
    "Synaptic": {"alpha": 0.8, "beta": 0.9},
    "Alpha": {"alpha": 0.9, "beta": 0.8},
    "RLeaky": {"beta": 0.9, "all_to_all": False, "V": 0.5},
}


def job():
    """Three steps of Adam over eight moments with each neuron."""
    x, wanted, answer = torch.from_numpy(normal(16, 12)), torch.from_numpy(labels(16, classes=4)), {}
    for name, settings in _NEURONS.items():
        neuron = getattr(snn, name)(init_hidden=True, spike_grad=surrogate.atan(), **settings)
        network = nn.Sequential(fill(nn.Linear(12, 24)), neuron, fill(nn.Linear(24, 4)))
        optimizer, losses = torch.optim.Adam(network.parameters(), lr=1e-2), []
        for _ in range(3):
            utils.reset(network)
            given = torch.stack([network(x) for _ in range(8)])
            loss = nn.functional.cross_entropy(given.mean(0), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        answer[name] = losses
    answer["latency"] = spikegen.latency(torch.from_numpy(uniform(6)), num_steps=5)
    answer["rate"] = functional.ce_rate_loss()(given, wanted)
    return answer
