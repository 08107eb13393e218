"""Explanations of a network, adversarial examples, and the gradients of each sample."""

import torch
from common import fill, labels, normal, step, uniform
from torch import from_numpy, nn


def _with_pool(channels):
    convolution = nn.Conv2d(channels, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    return fill(nn.Sequential(*convolution, nn.Linear(72, 16), nn.ReLU(), nn.Linear(16, 4))).eval()


def _without_pool():
    return fill(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Softplus(), nn.Flatten(), nn.Linear(288, 4))).eval()


def backpack():
    """Gradients of each sample, variances and curvature beside the gradient. Each quantity of a network's
    parameters."""
    from backpack import backpack, extend, extensions

    kinds = "BatchGrad BatchL2Grad SumGradSquared Variance DiagGGNExact BatchDiagGGNExact KFLR DiagHessian"
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(144, 4))
    network, loss = extend(fill(network)), extend(nn.CrossEntropyLoss())
    x, wanted, answer = from_numpy(normal(8, 1, 8, 8)), from_numpy(labels(8, classes=4)), {}
    for kind in kinds.split():
        extension = getattr(extensions, kind)()
        with backpack(extension):
            loss(network(x), wanted).backward()
        for name, parameter in network.named_parameters():
            kept = getattr(parameter, extension.savefield)
            for part, value in enumerate(kept if isinstance(kept, list) else [kept]):
                answer[f"{kind} {name} {part}"] = value
        network.zero_grad()
    return answer


def captum():
    """The attributions of a network's inputs, layers and neurons. Each method on 32 images of 8 x 8."""
    from captum import attr
    from captum.attr._utils.lrp_rules import EpsilonRule

    network = _with_pool(1)
    network[3].rule = EpsilonRule()
    x, base = from_numpy(normal(32, 1, 8, 8)), torch.zeros(32, 1, 8, 8)
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


def foolbox():
    """Attacks on a network within bounds. Each attack on eight images."""
    import foolbox
    from foolbox import attacks

    bound = "FGSM LinfBasicIterativeAttack LinfPGD L2PGD L1PGD L2FastGradientAttack L2AdamPGD LinfAdamPGD"
    free = {
        "L2DeepFoolAttack": {"steps": 5},
        "LinfDeepFoolAttack": {"steps": 5},
        "L2CarliniWagnerAttack": {"steps": 5, "binary_search_steps": 2},
        "EADAttack": {"steps": 5, "binary_search_steps": 2},
        "DDNAttack": {"steps": 5},
        "InversionAttack": {},
    }
    network = _without_pool()
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    x, wanted, answer = from_numpy(uniform(8, 3, 8, 8)), from_numpy(labels(8, classes=4)), {}
    for name in bound.split():
        settings = {} if "Fast" in name or name == "FGSM" else {"steps": 5, "random_start": False}
        attack = getattr(attacks, name, None) or getattr(foolbox.attacks, name)
        answer[name] = attack(**settings)(model, x, wanted, epsilons=0.1)[1]
    for name, settings in free.items():
        answer[name] = getattr(attacks, name)(**settings)(model, x, wanted, epsilons=None)[1]
    return answer


def opacus():
    """Training with gradients of each sample, clipped, with noise; ghost clipping; the accountant. Five
    steps of each network, without noise, whose numbers are PyTorch's generator's."""
    from opacus import GradSampleModule
    from opacus.accountants import RDPAccountant
    from opacus.optimizers import DPOptimizer

    images = nn.Sequential(nn.Conv2d(1, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))
    rows = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.LayerNorm(16), nn.Linear(16, 4))
    answer, wanted = {}, from_numpy(labels(16, classes=4))
    for name, network, x in (("images", images, normal(16, 1, 8, 8)), ("rows", rows, normal(16, 8))):
        network = GradSampleModule(fill(network))
        inner = torch.optim.SGD(network.parameters(), lr=0.1)
        optimizer = DPOptimizer(inner, noise_multiplier=0.0, max_grad_norm=0.5, expected_batch_size=16)
        for _ in range(5):
            loss = nn.functional.cross_entropy(network(from_numpy(x)), wanted)
            step(optimizer, loss)
        answer |= {name: loss, f"{name} slopes": next(network.parameters()).grad_sample}
    accountant = RDPAccountant()
    accountant.history = [(1.1, 0.01, 1000)]
    return answer | {"epsilon": accountant.get_epsilon(1e-5)}


def pytorch_grad_cam():
    """Explanations of a network by several methods. Maps of a ResNet's last layer."""
    from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus, LayerCAM, XGradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    from torchvision.models import resnet18

    network = fill(resnet18(num_classes=4)).eval()
    x = from_numpy(normal(1, 3, 64, 64))
    results = {}
    for method in (GradCAM, GradCAMPlusPlus, XGradCAM, LayerCAM, EigenCAM):
        with method(model=network, target_layers=[network.layer3[-1]]) as cam:
            results[method.__name__] = cam(input_tensor=x, targets=[ClassifierOutputTarget(1)])[0, ::20, ::20]
    return results


def torchattacks():
    """Images that a network takes for another class. Each attack on eight images."""
    import torchattacks

    attacks = {
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
    network = _without_pool()
    x, wanted = from_numpy(uniform(8, 3, 8, 8)), from_numpy(labels(8, classes=4))
    return {name: getattr(torchattacks, name)(network, **s)(x, wanted) for name, s in attacks.items()}


def zennit():
    """Relevance by rules of layers, and the attributors over them. Each on eight images."""
    from zennit import attribution, composites

    names = "EpsilonPlus EpsilonAlpha2Beta1 EpsilonGammaBox EpsilonPlusFlat"
    names += " GuidedBackprop ExcitationBackprop DeconvNet"

    network = _with_pool(3)
    x, wanted, answer = from_numpy(normal(8, 3, 8, 8)), torch.eye(4)[torch.arange(8) % 4], {}
    for name in names.split():
        box = {"low": x - 3, "high": x + 3} if "Box" in name else {}
        with attribution.Gradient(network, getattr(composites, name)(**box)) as attributor:
            answer[name] = attributor(x, wanted)[1]
    with attribution.IntegratedGradients(network, n_iter=5) as attributor:
        answer["IntegratedGradients"] = attributor(x, wanted)[1]
    with attribution.Occlusion(network, window=4, stride=4) as attributor:
        answer["Occlusion"] = attributor(x, wanted)[1]
    return answer
