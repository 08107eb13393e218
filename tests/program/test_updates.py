"""Gradients in compiled steps: clipping, averages, penalties, updates by hand, two optimizers."""

import copy

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn import functional as F
from ranvier.optim import swa_utils
from ranvier.train.penalty import Penalty
from support.training_steps import Base, assert_same_as_eager, images, subclasses


class Plain(Base):
    """Nothing but loss, backward and update."""


class ClipNorm(Base):
    def update(self):
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 0.1)
        self.optimizer.step()
        return norm


class ClipNormReturned(ClipNorm):
    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = self.loss(x, y)
        loss.backward()
        return loss, self.update()


class ClipEach(Base):
    def update(self):
        for p in self.model.parameters():
            nn.utils.clip_grad_norm_(p, 0.05, norm_type=float("inf"))
        self.optimizer.step()


class ClipInTwo(Base):
    def update(self):
        parameters = list(self.model.parameters())
        norm = nn.utils.get_total_norm([p.grad for p in parameters])
        nn.utils.clip_grads_with_norm_(parameters, 0.1, norm)
        self.optimizer.step()


class ClipValue(Base):
    def update(self):
        nn.utils.clip_grad_value_(self.model.parameters(), 0.01)
        self.optimizer.step()


class Ema(Base):
    average_fn = staticmethod(lambda: swa_utils.get_ema_multi_avg_fn(0.9))
    use_buffers = False

    def prepare(self):
        self.average = swa_utils.AveragedModel(
            self.model, multi_avg_fn=self.average_fn(), use_buffers=self.use_buffers
        )

    def update(self):
        self.optimizer.step()
        self.average.update_parameters(self.model)

    def modules(self):
        return [self.model, self.average]


class Swa(Ema):
    average_fn = staticmethod(lambda: None)


class EmaOfBuffers(Ema):
    use_buffers = True
    shape = (2, 6, 6)
    make = staticmethod(images)


class EmaCopyingBuffers(EmaOfBuffers):
    use_buffers = False


class Weights(Base):
    def prepare(self):
        self.penalty = Penalty(self.model, list(self.model.parameters()), 0.01, 0.02)

    def update(self):
        self.penalty.penalise()
        self.optimizer.step()


class PenaltyInTheLoss(Base):
    def loss(self, x, y):
        return super().loss(x, y) + 0.01 * sum((p * p).sum() for p in self.model.parameters())


class WithZeros(Base):
    def prepare(self):
        for p in self.model.parameters():
            p.grad = rv.zeros_like(p)

    def step(self, x, y):
        self.optimizer.zero_grad(set_to_none=False)
        loss = self.loss(x, y)
        loss.backward()
        self.update()
        return loss


class OntoGivenGradients(Base):
    """Gradients in memory of NumPy that is shared and never cleared."""

    def prepare(self):
        self.known = []
        for p in self.model.parameters():
            self.known.append(np.zeros(p.shape, np.float32))
            p.grad = rv.from_numpy(self.known[-1])

    def step(self, x, y):
        loss = self.loss(x, y)
        loss.backward()
        self.update()
        return loss

    def modules(self):
        return [self.model, [p.grad for p in self.model.parameters()]]


class Schedule(Base):
    def prepare(self):
        self.schedule = rv.optim.lr_scheduler.OneCycleLR(self.optimizer, 0.5, total_steps=10)

    def between(self):
        self.schedule.step()


class ScheduleOfAdam(Schedule):
    def make_optimizer(self):
        return rv.optim.AdamW(self.model.parameters(), lr=0.01)


class Groups(Base):
    def make_optimizer(self):
        first, *_, last = self.model
        return rv.optim.Adam([{"params": first.parameters(), "lr": 0.01}, {"params": last.parameters()}])


class Frozen(Base):
    def prepare(self):
        self.model[0].weight.requires_grad_(False)


class Tied(Base):
    @staticmethod
    def make():
        model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 3))
        model[2].weight = model[0].weight
        return model


class PlainDescent(Base):
    """An update by hand."""

    def step(self, x, y):
        loss = self.loss(x, y)
        self.model.zero_grad()
        loss.backward()
        with rv.no_grad():
            for p in self.model.parameters():
                p -= 0.1 * p.grad
        return loss


class HookedAfter(Base):
    """The update of each parameter as soon as its gradient is computed."""

    def prepare(self):
        for p in self.model.parameters():
            p.register_post_accumulate_grad_hook(self.descend)

    @staticmethod
    def descend(p):
        with rv.no_grad():
            p -= p.grad * 0.1

    def update(self):
        pass


class ByGrad(Base):
    def step(self, x, y):
        parameters = list(self.model.parameters())
        loss = self.loss(x, y)
        gradients = rv.autograd.grad(loss, parameters)
        with rv.no_grad():
            for p, g in zip(parameters, gradients, strict=True):
                p.sub_(g * 0.1)
        return loss


class Functions(Base):
    """Gradients as values, of a function of the weights."""

    def prepare(self):
        self.weights = {"w": rv.randn(3, 6), "b": rv.zeros(3)}

    def step(self, x, y):
        def loss(weights):
            return F.cross_entropy(F.linear(x, weights["w"], weights["b"]), y)

        value, gradients = rv.value_and_grad(loss)(self.weights)
        for name, gradient in gradients.items():
            self.weights[name] -= 0.1 * gradient
        return value

    def modules(self):
        return [self.weights]


class Target(Base):
    """A second network that follows the first slowly, changed in place."""

    def prepare(self):
        self.target = copy.deepcopy(self.model).eval()

    def loss(self, x, y):
        with rv.no_grad():
            wanted = rv.softmax(self.target(x), 1)
        return F.cross_entropy(self.model(x), wanted)

    def update(self):
        self.optimizer.step()
        with rv.no_grad():
            for t, p in zip(self.target.parameters(), self.model.parameters(), strict=True):
                t.mul_(0.9).add_(p, alpha=0.1)

    def modules(self):
        return [self.model, self.target]


class TwoOptimizers(Base):
    """A generator and a critic, as in a GAN."""

    def prepare(self):
        self.critic = nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(), nn.Linear(4, 1))
        self.second = rv.optim.RMSprop(self.critic.parameters(), lr=0.01)

    def step(self, x, y):
        real = F.one_hot(y, 3).float()
        made = self.model(x)
        self.second.zero_grad()
        of_critic = F.binary_cross_entropy_with_logits(self.critic(real), rv.ones(4, 1))
        of_critic = of_critic + F.binary_cross_entropy_with_logits(self.critic(made.detach()), rv.zeros(4, 1))
        of_critic.backward()
        self.second.step()
        with rv.no_grad():
            for p in self.critic.parameters():
                p.clamp_(-0.4, 0.4)
        self.optimizer.zero_grad()
        of_model = F.binary_cross_entropy_with_logits(self.critic(made), rv.ones(4, 1))
        of_model.backward()
        self.optimizer.step()
        return of_critic, of_model

    def modules(self):
        return [self.model, self.critic]


KINDS = [kind for kind in subclasses(Base) if kind.__module__ == __name__]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_same_as_eager(kind):
    assert_same_as_eager(kind)
