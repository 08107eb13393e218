"""Compiled steps of other forms: several losses, hooks, hidden states, metrics, images, words, attention."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn import functional as F
from support.strict import strict
from support.training_steps import Base, assert_same_as_eager, images, mlp, subclasses


class SeveralLosses(Base):
    def loss(self, x, y):
        out = self.model(x)
        return (
            F.cross_entropy(out, y) + 0.5 * F.mse_loss(out, F.one_hot(y, 3).float()) + 0.1 * out.abs().mean()
        )


class TwoBackwards(Base):
    def step(self, x, y):
        self.optimizer.zero_grad()
        out = self.model(x)
        first, second = F.cross_entropy(out, y), (out * out).mean()
        first.backward(retain_graph=True)
        second.backward()
        self.update()
        return first + second


class MicroBatches(Base):
    def step(self, x, y):
        self.optimizer.zero_grad()
        total = 0.0
        for part, labels in zip(x.split(2), y.split(2), strict=True):
            loss = self.loss(part, labels) / 2
            loss.backward()
            total = total + loss.detach()
        self.update()
        return total


class WeightsOfRoot(Base):
    def step(self, x, y):
        self.optimizer.zero_grad()
        losses = F.cross_entropy(self.model(x), y, reduction="none")
        losses.backward(rv.full((4,), 0.25))
        self.update()
        return losses.sum()


class Adversary(Base):
    """The gradient of an input that is made inside the step."""

    def loss(self, x, y):
        moved = x.clone().requires_grad_()
        (gradient,) = rv.autograd.grad(super().loss(moved, y), [moved])
        return super().loss(x + 0.1 * gradient.sign(), y)


class Hooked(Base):
    def prepare(self):
        self.model[0].weight.register_hook(lambda g: g * 0.5)
        self.model[3].register_forward_hook(lambda module, inputs, y: y * 2)


class HookedModules(Base):
    def prepare(self):
        self.model[0].register_full_backward_hook(
            lambda module, dx, dy: tuple(g if g is None else g * 0.5 for g in dx)
        )
        self.model[3].register_full_backward_pre_hook(lambda module, dy: tuple(g * 2 for g in dy))


class Retained(Base):
    def step(self, x, y):
        self.optimizer.zero_grad()
        hidden = self.model[0](x)
        hidden.retain_grad()
        loss = F.cross_entropy(self.model[3](hidden.relu()), y)
        loss.backward()
        self.update()
        return loss, hidden.grad.abs().mean()


class Recurrent(Base):
    """A hidden state within a sequence, and one that is carried to the next sequence."""

    shape = (3, 6)

    @staticmethod
    def make():
        return nn.ModuleList([nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)])

    def prepare(self):
        self.carried = rv.zeros(4, 8)

    def loss(self, x, y):
        first, second, last = self.model
        hidden = self.carried.clone()
        for t in range(3):
            hidden = (first(x[:, t]) + second(hidden)).tanh()
        self.carried.copy_(hidden.detach())
        return F.cross_entropy(last(hidden), y)

    def modules(self):
        return [self.model, {"carried": self.carried}]


class Words(Base):
    @staticmethod
    def make():
        return nn.ModuleList([nn.Embedding(3, 8, padding_idx=0), nn.LayerNorm(8), nn.Linear(6, 8)])

    def loss(self, x, y):
        words, norm, encode = self.model
        return F.mse_loss(norm(encode(x)), words(y))


class Attention(Base):
    shape = (5, 6)

    @staticmethod
    def make():
        return nn.ModuleList([nn.Linear(6, 18), nn.LayerNorm(6), nn.Linear(6, 3)])

    def loss(self, x, y):
        project, norm, last = self.model
        q, k, v = project(norm(x)).reshape(4, 5, 3, 2, 3).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / 3**0.5
        scores = scores.masked_fill(rv.ones(5, 5).tril() == 0, float("-inf"))
        mixed = (rv.softmax(scores, -1) @ v).transpose(1, 2).reshape(4, 5, 6)
        return F.cross_entropy(last(x + mixed).mean(1), y)


class Transformer(Base):
    """A small transformer with dropout, a causal mask and padding that depends on the batch."""

    shape = (5, 6)

    @staticmethod
    def make():
        layer = nn.TransformerEncoderLayer(6, 2, 8, 0.2, batch_first=True)
        return nn.ModuleList(
            [
                nn.SinusoidalPositionalEncoding(6, 9, 0.1, batch_first=True),
                nn.TransformerEncoder(layer, 2),
                nn.MultiheadAttention(6, 3, 0.3, kdim=6, vdim=3, batch_first=True),
                nn.Linear(6, 3),
            ]
        )

    def loss(self, x, y):
        places, encoder, attention, last = self.model
        h = encoder(places(x), src_key_padding_mask=x[:, :, 0] > 1, is_causal=True)
        h, weights = attention(h, h, h[:, :, :3], attn_mask=rv.zeros(5, 5) - 0.5)
        return F.cross_entropy(last(h.mean(1)), y) + weights.square().mean()


class Metrics(Base):
    def step(self, x, y):
        self.optimizer.zero_grad()
        out = self.model(x)
        loss = F.cross_entropy(out, y)
        loss.backward()
        self.update()
        right = out.argmax(1) == y
        return {"loss": loss, "right": right.float().mean(), "count": right.sum(), "all": right.all()}


class Counted(Base):
    """The step's own counter and history, in memory that existed before."""

    def prepare(self):
        self.count = rv.zeros((), dtype=rv.int64)
        self.sum = rv.zeros(3)
        self.last = rv.zeros(4, 3)

    def loss(self, x, y):
        out = self.model(x)
        with rv.no_grad():
            self.count += 1
            self.sum += out.detach().sum(0)
            self.last.copy_(out.detach())
        return F.cross_entropy(out, y) * (1 + 0.1 * self.sum.abs().mean())

    def modules(self):
        return [self.model, {"count": self.count, "sum": self.sum, "last": self.last}]


class Images(Base):
    shape = (2, 6, 6)
    make = staticmethod(images)


class CumulativeStatistics(Images):
    @staticmethod
    def make():
        model = images()
        model[1].momentum = None
        return model


class Double(Base):
    dtype = np.float64

    @staticmethod
    def make():
        return mlp().double()


class DoubleDataOfAFloatModel(Base):
    def step(self, x, y):
        return super().step(x.double().float(), y)


KINDS = [kind for kind in subclasses(Base) if kind.__module__ == __name__]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_same_as_eager(kind):
    assert_same_as_eager(kind)


def test_rounding_of_gradients_that_cancel_is_no_difference():
    """The gradient of a bias before a batch norm is rounding alone: sums in another order make it another."""
    rv.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 5, 2), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 16, 3), nn.MaxPool2d(3), nn.Flatten()
    )
    optimizer = rv.optim.SGD(model.parameters(), lr=0.01)

    def step(x):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()

    step, rng = strict(step), np.random.default_rng(0)
    for _ in range(3):
        step(rng.standard_normal((5, 3, 8, 8)).astype(np.float32))
