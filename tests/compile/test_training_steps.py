"""Training steps of many forms: clipping, averages, penalties, several losses, hooks, states, attention."""

import copy

import numpy as np
import pytest
import ranvier as rv
from compile.staleness.rows import function, space, table
from ranvier import nn
from ranvier.nn import functional as F
from ranvier.train.step import Penalty
from support.strict import strict
from support.training_steps import Base, assert_same_as_eager, images, mlp, run_at_once, subclasses


def descend(parameters, gradients=None):
    parameters = list(parameters)
    with rv.no_grad():
        for p, g in zip(parameters, gradients or [p.grad for p in parameters], strict=True):
            p -= 0.1 * g


def penalty_of(model):
    return Penalty(model, list(model.parameters()), 0.01, 0.02)


def double():
    return mlp().double()


def tied():
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 3))
    model[2].weight = model[0].weight
    return model


def cumulative():
    model = images()
    model[1].momentum = None
    return model


# name | what differs from the plain step | how ...; of `self`, its model `m`, its optimizer `o`, and `x`, `y`
ROWS = table(
    r"""
plain | update | o.step()
clip_norm | update | nn.utils.clip_grad_norm_(m.parameters(), 0.1); o.step()
clip_norm_returned | step
  | loss = gradients(o, self.loss(x, y)); norm = nn.utils.clip_grad_norm_(m.parameters(), 0.1); o.step();
    return loss, norm
clip_each | update
  | for p in m.parameters(): nn.utils.clip_grad_norm_(p, 0.05, norm_type=INF)\no.step()
clip_in_two | update
  | p = list(m.parameters()); norm = nn.utils.get_total_norm([q.grad for q in p]); <WITH>(p, 0.1, norm);
    o.step()
clip_value | update | nn.utils.clip_grad_value_(m.parameters(), 0.01); o.step()
ema | prepare | self.more = [swa_utils.AveragedModel(m, multi_avg_fn=<EMA>)] | update | <AVERAGED>
swa | prepare | self.more = [swa_utils.AveragedModel(m)] | update | <AVERAGED>
ema_of_buffers | prepare | self.more = [swa_utils.AveragedModel(m, multi_avg_fn=<EMA>, use_buffers=True)]
  | update | <AVERAGED> | <IMAGES>
ema_copying_buffers | prepare | self.more = [swa_utils.AveragedModel(m, multi_avg_fn=<EMA>)]
  | update | <AVERAGED> | <IMAGES>
penalty | prepare | self.penalty = penalty_of(m)
  | update | self.penalty.penalise(); o.step()
penalty_in_the_loss | loss | F.cross_entropy(m(x), y) + 0.01 * sum((p * p).sum() for p in m.parameters())
with_zeros | prepare | for p in m.parameters(): p.grad = rv.zeros_like(p)
  | step | o.zero_grad(set_to_none=False); loss = self.loss(x, y); loss.backward(); o.step(); return loss
onto_gradients_in_memory_of_numpy | step | loss = self.loss(x, y); loss.backward(); o.step(); return loss
  | prepare | for p in m.parameters(): p.grad = rv.from_numpy(np.zeros(p.shape, np.float32));
    self.more.append(p.grad)
schedule | prepare | <CYCLE> | between | self.schedule.step()
schedule_of_adam | make_optimizer | optim.AdamW(m.parameters(), lr=0.01) | prepare | <CYCLE>
  | between | self.schedule.step()
groups | make_optimizer
  | optim.Adam([{'params': m[0].parameters(), 'lr': 0.01}, {'params': m[-1].parameters()}])
frozen | prepare | m[0].weight.requires_grad_(False)
tied | make | tied
update_by_hand | step
  | loss = self.loss(x, y); m.zero_grad(); loss.backward(); descend(m.parameters()); return loss
hooked_after | prepare
  | for p in m.parameters(): p.register_post_accumulate_grad_hook(lambda p: descend([p])) | update | pass
by_grad | step
  | p = list(m.parameters()); loss = self.loss(x, y); g = rv.autograd.grad(loss, p); descend(p, g);
    return loss
several_losses | loss
  | z = m(x);
    return F.cross_entropy(z, y) + 0.5 * F.mse_loss(z, F.one_hot(y, 3).float()) + 0.1 * z.abs().mean()
two_backwards | step
  | o.zero_grad(); z = m(x); a, b = F.cross_entropy(z, y), (z * z).mean(); a.backward(retain_graph=True);
    b.backward(); o.step(); return a + b
weights_of_root | step
  | o.zero_grad(); a = F.cross_entropy(m(x), y, reduction='none'); a.backward(rv.full((4,), 0.25));
    o.step(); return a.sum()
adversary | loss
  | z = x.clone().requires_grad_(); (g,) = rv.autograd.grad(F.cross_entropy(m(z), y), [z]);
    return F.cross_entropy(m(x + 0.1 * g.sign()), y)
hooked | prepare
  | m[0].weight.register_hook(lambda g: g * 0.5); m[3].register_forward_hook(lambda module, a, y: y * 2)
hooked_modules | prepare
  | m[3].register_full_backward_pre_hook(lambda module, dy: (dy[0] * 2,));
    m[0].register_full_backward_hook(halved)
images | shape | (2, 6, 6) | make | images
cumulative_statistics | shape | (2, 6, 6) | make | cumulative
double | dtype | np.float64 | make | double
double_data_of_a_float_model | loss | F.cross_entropy(m(x.double().float()), y)
""",
    WITH="nn.utils.clip_grads_with_norm_",
    EMA="swa_utils.get_ema_multi_avg_fn(0.9)",
    AVERAGED="o.step(); self.more[0].update_parameters(m)",
    IMAGES="shape | (2, 6, 6) | make | images",
    CYCLE="self.schedule = optim.lr_scheduler.OneCycleLR(o, 0.5, total_steps=10)",
)


def halved(module, dx, dy):
    return tuple(g if g is None else g * 0.5 for g in dx)


def method(text):
    names = {**space(), **globals()}
    run = function("self, m, o, x, y", text, names)
    return lambda self, x=None, y=None: run(self, self.model, getattr(self, "optimizer", None), x, y)


def kind_of(parts):
    """A class of these parts: names of methods, or of attributes, and their texts."""
    pairs = dict(zip(parts[::2], parts[1::2], strict=True))
    plain = {name: eval(pairs.pop(name), globals()) for name in ("shape", "dtype", "make") if name in pairs}
    if "make" in plain:
        plain["make"] = staticmethod(plain["make"])
    return type("Row", (Base,), {**plain, **{name: method(text) for name, text in pairs.items()}})


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


KINDS = {kind.__name__: kind for kind in subclasses(Base) if kind.__module__ == __name__}


@pytest.mark.parametrize("name", [*ROWS, *KINDS])
def test_same_as_eager(name):
    assert_same_as_eager(KINDS[name] if name in KINDS else kind_of(ROWS[name]))


@pytest.mark.parametrize("name", [*ROWS, *KINDS])
def test_many_calls_in_one_are_the_same_as_eager(name):
    kind = KINDS[name] if name in KINDS else kind_of(ROWS[name])
    if kind.between is Base.between:
        assert_same_as_eager(kind, run_at_once)


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
