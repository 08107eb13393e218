"""Optimizers, and functions' least values."""

import torch
from common import fill, labels, normal, step, uniform
from torch import from_numpy, nn


def evotorch():
    """Batches of solutions, whose values are tensors that cannot be written to, and their ranks.
    Generations that keep the better half and move its mean."""
    from evotorch import Problem, SolutionBatch
    from evotorch.decorators import vectorized
    from evotorch.tools import ReadOnlyTensor, as_read_only_tensor
    from evotorch.tools.ranking import rank

    @vectorized
    def sphere(x):
        return (x**2).sum(-1)

    problem = Problem("min", sphere, solution_length=4, initial_bounds=(-1, 1))
    batch = SolutionBatch(problem, popsize=16)
    noise = from_numpy(normal(10, 16, 4))
    center, best = torch.ones(4), []
    for move in noise:
        batch.set_values(center + move / 4)
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


def geoopt():
    """Manifolds' operations, and optimizers that stay on them. Points, tangents and five steps of each
    optimizer."""
    import geoopt

    names, answer = "PoincareBall Lorentz Sphere Stiefel CanonicalStiefel Euclidean Scaled", {}
    for name in [*names.split(), "SymmetricPositiveDefinite"]:
        shape = (3, 3) if name == "SymmetricPositiveDefinite" else (4, 3)
        made = (geoopt.Sphere(), 2.0) if name == "Scaled" else ()
        manifold = getattr(geoopt, name)(*made)
        point = manifold.projx(from_numpy(normal(*shape, scale=0.3)))
        tangent = manifold.proju(point, from_numpy(normal(*shape, seed=1, scale=0.1)))
        answer |= {f"{name} retraction": manifold.retr(point, tangent), f"{name} tangent": tangent}
        answer[f"{name} length"] = manifold.inner(point, tangent, tangent)
        for kind in ("RiemannianAdam", "RiemannianSGD"):
            parameter = geoopt.ManifoldParameter(point.clone(), manifold=manifold)
            optimizer = getattr(geoopt.optim, kind)([parameter], lr=0.05)
            for _ in range(5):
                step(optimizer, ((parameter - 0.2 * torch.ones(shape)) ** 2).sum())
            answer[f"{name} {kind}"] = parameter
    return answer


def higher():
    """Gradients through the steps of an optimizer, as MAML has. Five steps over four tasks, each of three
    inner steps, with two inner optimizers."""
    import higher

    answer = {}
    for name, inner in (("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)):
        network = fill(nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1)))
        outer = torch.optim.Adam(network.parameters(), lr=1e-2)
        losses = []
        for _ in range(5):
            outer.zero_grad()
            total = 0.0
            for task in range(4):
                x, y = from_numpy(normal(32, 4, seed=task)), from_numpy(normal(32, 1, seed=10 + task))
                optimizer = inner(network.parameters(), lr=0.05)
                with higher.innerloop_ctx(network, optimizer, copy_initial_weights=False) as (copy, steps):
                    for _ in range(3):
                        steps.step(nn.functional.mse_loss(copy(x[:16]), y[:16]))
                    loss = nn.functional.mse_loss(copy(x[16:]), y[16:])
                    loss.backward()
                    total += loss.item()
            outer.step()
            losses.append(total)
        answer[name] = losses
    return answer


def pytorch_optimizer():
    """Four updates of a network by each of its optimizers that needs no settings. The network's output
    after the updates."""
    import pytorch_optimizer

    names = """
        a2grad adabelief adabound adai adalite adamg adamod adamp adams adan adapnm adashift adasmooth
        ademamix adopt aggmo apollo avagrad came diffgrad fadam focus fromage grams lamb laprop lars
        lion madgrad mars msvag nero novograd padam pid pnm prodigy qhadam qhm ranger sgdp sgdw shampoo
        sm3 srmm stableadamw swats tiger vsgd yogi
    """
    answer = {}
    for name in names.split():
        model = fill(nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4)))
        optimizer = pytorch_optimizer.load_optimizer(name)(model.parameters(), lr=0.01)
        for i in range(4):
            step(optimizer, model(from_numpy(normal(6, 8, seed=i))).square().mean())
        answer[name] = model(from_numpy(normal(6, 8)))
    return answer


def torch_optimizer():
    """Each of its optimizers trains a network. Ten steps of each optimizer."""
    import torch_optimizer

    names = """
        AccSGD AdaBound AdaMod Adafactor AdamP AggMo Apollo DiffGrad Lamb LARS MADGRAD
        NovoGrad PID QHAdam QHM RAdam Ranger SGDP SGDW SWATS Shampoo Yogi
    """
    x, y, answer = from_numpy(normal(128, 10)), from_numpy(labels(128, classes=3)), {}
    for name in names.split():
        network = fill(nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 3)))
        options = {} if name == "Adafactor" else {"lr": 0.01}
        optimizer = getattr(torch_optimizer, name)(network.parameters(), **options)
        answer[name] = [step(optimizer, nn.functional.cross_entropy(network(x), y)) for _ in range(10)]
    return answer


def torchmin():
    """The least of a function by gradients, products with the Hessian, and Hessians. Where each method
    ends; a curve that is fitted."""
    from torchmin import least_squares, minimize

    methods = "bfgs l-bfgs cg newton-cg newton-exact trust-ncg trust-exact"

    def bowl(x):
        return ((x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    start = torch.tensor([-0.5, 1.0, 0.5], dtype=torch.float64)
    answer = {name: minimize(bowl, start, method=name, tol=1e-9).x for name in methods.split()}
    times = from_numpy(uniform(12)).double()
    values = 2 * torch.exp(-3 * times)
    fitted = least_squares(lambda p: p[0] * torch.exp(-p[1] * times) - values, torch.ones(2).double())
    return answer | {"fitted": fitted.x}
