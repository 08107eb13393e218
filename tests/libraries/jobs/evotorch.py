"""evotorch: batches of solutions, whose values are tensors that cannot be written to, and their ranks."""

import torch
from evotorch import Problem, SolutionBatch
from evotorch.decorators import vectorized
from evotorch.tools import ReadOnlyTensor, as_read_only_tensor
from evotorch.tools.ranking import rank
from weights import normal


@vectorized
def sphere(x):
    return (x**2).sum(-1)


def job():
    """Generations that keep the better half and move its mean."""
    problem = Problem("min", sphere, solution_length=4, initial_bounds=(-1, 1))
    batch = SolutionBatch(problem, popsize=16)
    noise = torch.from_numpy(normal(10, 16, 4))
    center, best = torch.ones(4), []
    for step in noise:
        batch.set_values(center + step / 4)
        problem.evaluate(batch)
        best.append(float(batch.evals.min()))
        weights = rank(batch.evals[:, 0].clone(), "centered", higher_is_better=False)
        center = center + torch.matmul(weights, batch.values - center) / 4
    fixed = as_read_only_tensor(center)
    try:
        fixed.add_(1)
        written = 1.0
    except AttributeError:
        written = 0.0
    kinds = [batch.values, batch.evals, fixed, fixed[1:], fixed + 1, fixed.clone(), batch.values[0].exp()]
    return {
        "best": best,
        "center": center,
        "classes": torch.tensor([float(isinstance(x, ReadOnlyTensor)) for x in kinds] + [written]),
        "order": batch.argsort().float(),
    }
