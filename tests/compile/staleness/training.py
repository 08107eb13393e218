"""Training steps as programs write them, of which nothing changes between two calls.

Each function below `@of(model, *shape)` makes a step. Compiled, ten calls of it must show the bits of ten
eager calls: the loss, the model, the optimizer and what the step puts in the list `more`.
"""

import copy

import numpy as np
import ranvier as rv
from compile.staleness.judge import Case
from compile.staleness.scenario import scenario
from ranvier import nn, optim
from ranvier.autograd import grad
from ranvier.nn import functional as F
from ranvier.optim import swa_utils
from ranvier.train.step import Penalty


def of(model, *shape):
    """Registers the function below, which makes a step of this model, its optimizer and the list `more`.

    Its inputs are (4, *shape) and labels from 0 to 2.
    """

    def steps(run, m, make_step):
        o, more = optim.SGD(m.parameters(), lr=0.1, momentum=0.9), []
        return Case(run.compile(make_step(m, o, more)), lambda: [m, o, more], inputs)

    def inputs(number):
        rng = np.random.default_rng(number)
        x = rng.standard_normal((4, *shape)).astype(np.float32)
        return rv.tensor(x), rv.tensor(rng.integers(0, 3, 4))

    def register(make_step):
        scenario(lambda v: model(), None, make_step, ways=(steps,))
        return make_step

    return register


def mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def tied():
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 3))
    model[2].weight = model[0].weight
    return model


def images(momentum=0.1):
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False),
        nn.BatchNorm2d(4, momentum=momentum),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


def descend(parameters, gradients=None):
    parameters = list(parameters)
    with rv.no_grad():
        for p, g in zip(parameters, gradients or [p.grad for p in parameters], strict=True):
            p -= 0.1 * g


def usual(m, o, update=None, zero=None, loss_of=None):
    """A step with these parts in place of the usual ones."""
    update, zero = update or o.step, zero or o.zero_grad
    loss_of = loss_of or (lambda x, y: F.cross_entropy(m(x), y))

    def step(x, y):
        zero()
        loss = loss_of(x, y)
        loss.backward()
        update()
        return loss

    return step


# --- models, parameters and gradients
@of(tied, 6)
def two_layers_with_one_weight(m, o, more):
    return usual(m, o)


@of(mlp, 6)
def normalised_weights(m, o, more):
    nn.utils.weight_norm(m[0])
    nn.utils.spectral_norm(m[3])
    return usual(m, optim.Adam(m.parameters()))


@of(mlp, 6)
def onto_gradients_in_memory_of_numpy(m, o, more):
    for p in m.parameters():
        p.grad = rv.from_numpy(np.zeros(p.shape, np.float32))
        more.append(p.grad)
    return usual(m, o, zero=lambda: None)


@of(mlp, 6)
def gradients_held_while_others_are_added(m, o, more):
    def step(x, y):
        m.zero_grad()
        F.cross_entropy(m(x), y).backward()
        first = [p.grad for p in m.parameters()]
        F.cross_entropy(m(-x), y).backward()
        o.step()
        return [g * 2 for g in first]

    return step


# --- updates
@of(mlp, 6)
def clipped_in_two_calls(m, o, more):
    def clip():
        norm = nn.utils.get_total_norm([p.grad for p in m.parameters()])
        nn.utils.clip_grads_with_norm_(list(m.parameters()), 0.1, norm)
        o.step()

    return usual(m, o, update=clip)


def averaging(**settings):
    def make(m, o, more):
        average = swa_utils.AveragedModel(m, **settings)
        more.append(average)
        return usual(m, o, update=lambda: (o.step(), average.update_parameters(m)))

    return make


EMA = swa_utils.get_ema_multi_avg_fn(0.9)
of(mlp, 6)(averaging(multi_avg_fn=EMA))
of(images, 2, 6, 6)(averaging(multi_avg_fn=EMA, use_buffers=True))
of(images, 2, 6, 6)(averaging())


@of(mlp, 6)
def penalised(m, o, more):
    penalty = Penalty(m, list(m.parameters()), 0.01, 0.02)
    return usual(m, o, update=lambda: (penalty.penalise(), o.step()))


@of(mlp, 6)
def function_of_weights(m, o, more):
    """Weights in a dict, with gradients by value_and_grad."""
    weights = {"w": rv.randn(3, 6), "b": rv.zeros(3)}
    more.append(weights)

    def step(x, y):
        loss = lambda w: F.cross_entropy(F.linear(x, w["w"], w["b"]), y)  # noqa: E731
        value, gradients = rv.value_and_grad(loss)(weights)
        for name, gradient in gradients.items():
            weights[name] -= 0.1 * gradient
        return value

    return step


@of(mlp, 6)
def reptile(m, o, more):
    """Reptile: after an inner step the weights move back nine tenths of the way."""

    def step(x, y):
        before = copy.deepcopy(m.state_dict())
        loss = usual(m, m, update=lambda: descend(m.parameters()))(x, y)
        after = m.state_dict()
        m.load_state_dict({k: before[k] + (after[k] - before[k]) * 0.1 for k in before})
        return loss

    return step


# --- losses
@of(mlp, 6)
def two_backwards(m, o, more):
    """Two backward passes through one graph."""

    def step(x, y):
        o.zero_grad()
        z = m(x)
        first = F.cross_entropy(z, y) + 0.5 * F.mse_loss(z, F.one_hot(y, 3).float()) + 0.1 * z.abs().mean()
        first.backward(retain_graph=True)
        second = (z * z).mean()
        second.backward()
        o.step()
        return first + second

    return step


@of(mlp, 6)
def weights_of_root(m, o, more):
    """A backward pass from several losses, with weights."""

    def step(x, y):
        o.zero_grad()
        losses = F.cross_entropy(m(x), y, reduction="none")
        losses.backward(rv.full((4,), 0.25))
        o.step()
        return losses.sum()

    return step


@of(mlp, 6)
def micro_batches(m, o, more):
    """Gradients of two halves of the batch are added."""

    def step(x, y):
        o.zero_grad()
        total = 0.0
        for part, labels in zip(x.split(2), y.split(2), strict=True):
            loss = F.cross_entropy(m(part), labels) / 2
            loss.backward()
            total = total + loss.detach()
        o.step()
        return total

    return step


@of(mlp, 6)
def metrics(m, o, more):
    """Buffers that the step changes, and a dict of results."""
    count, total, last = more[:] = rv.zeros((), dtype=rv.int64), rv.zeros(3), rv.zeros(4, 3)

    def step(x, y):
        o.zero_grad()
        out = m(x)
        with rv.no_grad():
            count.add_(1)
            total.add_(out.detach().sum(0))
            last.copy_(out.detach())
        loss = F.cross_entropy(out, y) * (1 + 0.1 * total.abs().mean())
        loss.backward()
        o.step()
        right = out.argmax(1) == y
        return {"loss": loss, "right": right.float().mean(), "count": right.sum(), "all": right.all()}

    return step


# --- several models, sequences
@of(lambda: nn.ModuleList([nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)]), 3, 6)
def recurrent(m, o, more):
    """A state that is carried to the next call."""
    carried = rv.zeros(4, 8)
    more.append(carried)

    def loss_of(x, y):
        hidden = carried.clone()
        for t in range(3):
            hidden = (m[0](x[:, t]) + m[1](hidden)).tanh()
        carried.copy_(hidden.detach())
        return F.cross_entropy(m[2](hidden), y)

    return usual(m, o, loss_of=loss_of)


def encoder():
    layer = nn.TransformerEncoderLayer(6, 2, 8, 0.2, batch_first=True)
    attention = nn.MultiheadAttention(6, 3, 0.3, kdim=6, vdim=3, batch_first=True)
    return nn.ModuleList([nn.Dropout(0.1), nn.TransformerEncoder(layer, 2), attention, nn.Linear(6, 3)])


@of(encoder, 5, 6)
def transformer(m, o, more):
    def loss_of(x, y):
        h = m[1](m[0](x), src_key_padding_mask=x[:, :, 0] > 1, is_causal=True)
        h, weights = m[2](h, h, h[:, :, :3], attn_mask=rv.zeros(5, 5) - 0.5)
        return F.cross_entropy(m[3](h.mean(1)), y) + weights.square().mean()

    return usual(m, o, loss_of=loss_of)


# --- gradients of inputs, and of gradients
@of(mlp, 6)
def adversary(m, o, more):
    """The loss at inputs that were moved along the sign of their gradient."""

    def loss_of(x, y):
        z = x.clone().requires_grad_()
        (g,) = grad(F.cross_entropy(m(z), y), [z])
        return F.cross_entropy(m(x + 0.1 * g.sign()), y)

    return usual(m, o, loss_of=loss_of)


@of(mlp, 6)
def projected_descent(m, o, more):
    """Three steps to worse inputs, kept within 0.1 of the given ones."""

    def step(x, y):
        delta = rv.zeros_like(x).uniform_(-0.1, 0.1)
        delta.requires_grad = True
        for _ in range(3):
            F.cross_entropy(m(x + delta), y).backward()
            gradient = delta.grad.detach()
            delta.data = rv.clamp(delta + 0.02 * rv.sign(gradient), -0.1, 0.1)
            delta.grad.zero_()
        return usual(m, o, loss_of=lambda x, y: F.cross_entropy(m(x + delta.detach()), y))(x, y), gradient

    return step


def critic():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2, padding=1),
        nn.InstanceNorm2d(3, affine=True),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(27, 1),
    )


@of(critic, 2, 6, 6)
def gradient_penalty(m, o, more):
    """A critic whose gradient by its input has to have the norm 1."""

    def loss_of(x, y):
        z = (x * 0.3 - x.flip(0) * 0.7).requires_grad_(True)
        score = m(z)
        (g,) = grad(score, z, rv.ones_like(score), create_graph=True)
        return m(x).mean() + 10 * ((g.flatten(1).norm(2, dim=1) - 1) ** 2).mean()

    return usual(m, o, loss_of=loss_of)


@of(lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), 6)
def heat(m, o, more):
    """A network of the heat equation: second derivatives by its inputs."""

    def loss_of(x, y):
        z = x.detach().requires_grad_(True)
        (u_z,) = grad(m(z).sum(), z, create_graph=True)
        (u_zz,) = grad(u_z[:, :1].sum(), z, create_graph=True)
        return ((u_z[:, 1] - u_zz[:, 0]) ** 2).mean()

    return usual(m, o, loss_of=loss_of)


@of(lambda: nn.Linear(6, 3), 6)
def maml(m, o, more):
    """MAML: the outer gradient goes through two inner updates."""

    def loss_of(x, y):
        weights = [m.weight, m.bias]
        for _ in range(2):
            slopes = grad(F.cross_entropy(F.linear(x, *weights), y), weights, create_graph=True)
            weights = [w - 0.1 * g for w, g in zip(weights, slopes, strict=True)]
        return F.cross_entropy(F.linear(x, *weights), y)

    return usual(m, o, loss_of=loss_of)


@of(mlp, 6)
def second_derivative_by_numpy(m, o, more):
    """The second derivative of atan is computed by NumPy."""

    def loss_of(x, y):
        z = x.clone().requires_grad_(True)
        (g,) = grad((m(z).atan() ** 2).sum(), z, create_graph=True)
        return (g * g).mean()

    return usual(m, o, loss_of=loss_of)
