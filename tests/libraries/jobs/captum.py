"""captum: the attributions of a network's inputs, layers and neurons."""

import torch
from captum import attr
from captum.attr._utils.lrp_rules import EpsilonRule
from torch import nn
from weights import fill, normal


def job():
    """Each method on 32 images of 8 x 8."""
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(72, 16),
        nn.ReLU(),
        nn.Linear(16, 4),
    )
    fill(network).eval()
    network[3].rule = EpsilonRule()
    x, base = torch.from_numpy(normal(32, 1, 8, 8)), torch.zeros(32, 1, 8, 8)
    results = {
        "saliency": attr.Saliency(network).attribute(x, target=1),
        "input_x_gradient": attr.InputXGradient(network).attribute(x, target=1),
        "integrated": attr.IntegratedGradients(network).attribute(x, base, target=1, n_steps=50),
        "deep_lift": attr.DeepLift(network).attribute(x, base, target=1),
        "guided": attr.GuidedBackprop(network).attribute(x, target=1),
        "deconvolution": attr.Deconvolution(network).attribute(x, target=1),
        "ablation": attr.FeatureAblation(network).attribute(x, target=1),
        "occlusion": attr.Occlusion(network).attribute(x, target=1, sliding_window_shapes=(1, 3, 3)),
        "grad_cam": attr.LayerGradCam(network, network[0]).attribute(x, target=1),
        "layer": attr.LayerIntegratedGradients(network, network[4]).attribute(x, base, target=1),
        "conductance": attr.LayerConductance(network, network[1]).attribute(x, base, target=1, n_steps=20),
        "neuron": attr.NeuronGradient(network, network[4]).attribute(x, neuron_selector=2),
        "relevance": attr.LRP(network).attribute(x, target=1),
    }
    return {name: value[::7] for name, value in results.items()}
