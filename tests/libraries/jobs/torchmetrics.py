"""torchmetrics: scores of classes, numbers and texts, batch after batch."""

import torch
from torchmetrics import MeanMetric, MetricCollection, classification, regression
from weights import labels, normal, uniform


def job():
    """Ten batches of 200 rows."""
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
        scores = torch.from_numpy(uniform(200, 5, seed=i)).softmax(-1)
        target = torch.from_numpy(labels(200, classes=5, seed=i))
        classes.update(scores, target), confusion.update(scores, target)
        truth = torch.from_numpy(normal(200, seed=i))
        numbers.update(truth + torch.from_numpy(normal(200, seed=100 + i)), truth)
        mean.update(scores.max(-1).values, weight=target.float())
    answer = {name: score.item() for name, score in (classes.compute() | numbers.compute()).items()}
    return answer | {"confusion": confusion.compute(), "mean": mean.compute()}
