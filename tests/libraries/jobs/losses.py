"""Losses, distances and scores."""

import contextlib
import io

import torch
from common import fill, labels, normal, step, uniform
from torch import from_numpy, nn


def entmax():
    """Sparse activations and losses, and a network that learns with them. Values and gradients of each
    function; ten steps with the loss."""
    from entmax import Entmax15Loss, entmax15, entmax_bisect, normmax_bisect, sparsemax

    answer = {}
    functions = {
        "sparsemax": sparsemax,
        "entmax15": entmax15,
        "bisect": lambda x: entmax_bisect(x, alpha=1.3),
        "normmax": lambda x: normmax_bisect(x, alpha=2.0),
    }
    for name, function in functions.items():
        x = from_numpy(normal(64, 20)).requires_grad_()
        y = function(x)
        (y**2).sum().backward()
        answer |= {name: y[::11], f"{name}_gradient": x.grad[::11]}
    x, target = from_numpy(normal(256, 10)), from_numpy(labels(256, classes=20))
    network, losses = fill(nn.Linear(10, 20)), []
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    losses = [step(optimizer, Entmax15Loss()(network(x), target)) for _ in range(10)]
    return answer | {"losses": losses}


def geomloss():
    """A cloud of points moves to another along the gradient of three distances. Five steps with each
    distance."""
    from geomloss import SamplesLoss

    target, answer = from_numpy(normal(100, 3, seed=1)) * 0.5 + 1, {}
    for name, options in (("sinkhorn", {"p": 2, "blur": 0.1}), ("gaussian", {"blur": 0.5}), ("energy", {})):
        distance = SamplesLoss(name, backend="tensorized", **options)
        points, losses = from_numpy(normal(120, 3)).requires_grad_(), []
        for _ in range(5):
            loss = distance(points, target)
            (slope,) = torch.autograd.grad(loss, [points])
            points.data -= 20 * slope
            losses.append(loss.item())
        answer |= {name: losses, f"{name}_points": points[::17]}
    return answer


def lightly():
    """Losses of two views of a batch, and heads of projection. Each loss with its gradient; what each
    head gives."""
    from lightly import loss as losses
    from lightly.models import modules

    loss_names = "NTXentLoss BarlowTwinsLoss VICRegLoss NegativeCosineSimilarity DCLLoss DCLWLoss TiCoLoss"
    head_names = "SimCLRProjectionHead MoCoProjectionHead BYOLPredictionHead SimSiamProjectionHead"
    views, answer = [from_numpy(normal(6, 8, seed=seed)) for seed in (0, 1)], {}
    for name in loss_names.split():
        first = views[0].clone().requires_grad_()
        answer[name] = getattr(losses, name)()(first, views[1])
        answer[name].backward()
        answer[f"{name} slope"] = first.grad
    for name in head_names.split():
        answer[name] = fill(getattr(modules, name)(8, 16, 4))(views[0])
    return answer


def lpips():
    """Distances of pictures, with new weights. Two of its networks, and the gradient of a distance."""
    from lpips import LPIPS

    a, b = (from_numpy(normal(1, 3, 64, 64, seed=i)).tanh() for i in range(2))
    results = {}
    for net in ("squeeze", "alex"):
        with contextlib.redirect_stdout(io.StringIO()):
            distance = fill(LPIPS(pretrained=False, pnet_rand=True, net=net, verbose=False)).eval()
        x = a.clone().requires_grad_()
        results[net] = distance(x, b)
        results[net].sum().backward()
        results[f"{net}_slope"] = x.grad[0, :, ::30, ::30]
    return results


def pytorch_metric_learning():
    """Losses with their gradients, and miners. All on 12 vectors of four classes."""
    from pytorch_metric_learning import losses, miners

    plain = """
        AngularLoss CircleLoss ContrastiveLoss FastAPLoss GeneralizedLiftedStructureLoss IntraPairVarianceLoss
        LiftedStructureLoss MarginLoss MultiSimilarityLoss NCALoss NPairsLoss NTXentLoss PNPLoss
        SignalToNoiseRatioContrastiveLoss SmoothAPLoss SupConLoss TripletMarginLoss TupletMarginLoss
    """
    with_weights = "ArcFaceLoss CosFaceLoss NormalizedSoftmaxLoss ProxyAnchorLoss ProxyNCALoss SoftTripleLoss"

    classes, answer = torch.arange(12) % 4, {}
    for name in (plain + with_weights).split():
        settings = {"num_classes": 4, "embedding_size": 8} if name in with_weights.split() else {}
        x = from_numpy(normal(12, 8)).requires_grad_()
        loss = fill(getattr(losses, name)(**settings))(x, classes)
        loss.backward()
        answer |= {name: loss, f"{name} slope": x.grad}
    for name in ("MultiSimilarityMiner", "TripletMarginMiner", "BatchHardMiner", "PairMarginMiner"):
        answer[name] = torch.cat(getattr(miners, name)()(from_numpy(normal(12, 8)), classes))
    return answer


def torchmetrics():
    """Scores of classes, numbers and texts, batch after batch. Ten batches of 200 rows."""
    from torchmetrics import MeanMetric, MetricCollection, classification, regression

    kinds = {"task": "multiclass", "num_classes": 5}
    classes = MetricCollection(
        {
            "accuracy": classification.Accuracy(**kinds),
            "f1": classification.F1Score(**kinds, average="macro"),
            "area": classification.AUROC(**kinds),
            "precision": classification.AveragePrecision(**kinds),
            "kappa": classification.CohenKappa(**kinds),
            "calibration": classification.CalibrationError(**kinds),
        }
    )
    confusion = classification.ConfusionMatrix(**kinds)
    numbers = MetricCollection(
        [
            regression.MeanSquaredError(),
            regression.R2Score(),
            regression.PearsonCorrCoef(),
            regression.SpearmanCorrCoef(),
            regression.ExplainedVariance(),
        ]
    )
    mean = MeanMetric()
    for i in range(10):
        scores = from_numpy(uniform(200, 5, seed=i)).softmax(-1)
        target = from_numpy(labels(200, classes=5, seed=i))
        classes.update(scores, target), confusion.update(scores, target)
        truth = from_numpy(normal(200, seed=i))
        numbers.update(truth + from_numpy(normal(200, seed=100 + i)), truth)
        mean.update(scores.max(-1).values, weight=target.float())
    answer = {name: score.item() for name, score in (classes.compute() | numbers.compute()).items()}
    return answer | {"confusion": confusion.compute(), "mean": mean.compute()}
