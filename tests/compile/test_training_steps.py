"""Training steps as programs write them, captured whole: the eager bits by call and in one `run`."""

import copy  # noqa: F401 (used in texts, as the next with this mark)
import textwrap

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits, played, same
from ranvier import nn, optim
from ranvier.autograd import grad
from ranvier.nn import functional as F
from ranvier.optim import swa_utils
from ranvier.train.step import Penalty  # noqa: F401
from support.refused import refused
from support.strict import strict

CALLS = 7
SCHEDULE = {}
clip = nn.utils.clip_grad_norm_


def mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def smooth():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def tied():
    model = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 3))
    model[2].weight = model[0].weight
    return model


def images(momentum=0.1):
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4, momentum=momentum), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip


def critic():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.InstanceNorm2d(3, affine=True), nn.LeakyReLU(0.2),
        nn.Dropout(0.2), nn.Flatten(), nn.Linear(27, 1),
    )  # fmt: skip


def transformer():
    layer = nn.TransformerEncoderLayer(6, 2, 8, 0.2, batch_first=True)
    attention = nn.MultiheadAttention(6, 3, 0.3, kdim=6, vdim=3, batch_first=True)
    places = nn.Dropout(0.1)
    return nn.ModuleList([places, nn.TransformerEncoder(layer, 2), attention, nn.Linear(6, 3)])


def layers(*made):
    return lambda: nn.ModuleList([kind(*arguments) for kind, *arguments in made])


def descend(parameters, gradients=None):
    parameters = list(parameters)
    with rv.no_grad():
        for p, g in zip(parameters, gradients or [p.grad for p in parameters], strict=True):
            p -= 0.1 * g


def averaged(model, **settings):
    return swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9), **settings)


def halved(module, dx, dy):
    return tuple(g if g is None else g * 0.5 for g in dx)


def parts(text, **names):
    """Rows of `name | part: code | part: code ...`, which indented lines continue; `<NAME>`: a given text."""
    for name, value in names.items():
        text = text.replace(f"<{name}>", value)
    lines = text.strip("\n").replace("\n    ", " ").replace("\n  |", " |").splitlines()
    rows = [line.replace("\\n", "\n").split(" | ") for line in lines]
    return {name: dict(part.split(": ", 1) for part in row) for name, *row in rows}


# What differs from the plain step of a model `m`, its optimizer `o`, and `x`, `y`; `more`: also compared.
ROWS = parts(
    r"""
plain
clip_norm | update: clip(m.parameters(), 0.1); o.step()
clip_norm_returned | update: norm = clip(m.parameters(), 0.1); o.step() | result: loss, norm
clip_each | update: for p in m.parameters(): clip(p, 0.05, INF)\no.step()
clip_in_two
  | update: p = list(m.parameters()); norm = nn.utils.get_total_norm([q.grad for q in p]);
    nn.utils.clip_grads_with_norm_(p, 0.1, norm); o.step()
clip_value | update: nn.utils.clip_grad_value_(m.parameters(), 0.01); o.step()
ema | prepare: more.append(averaged(m)) | update: <AVERAGED>
swa | prepare: more.append(swa_utils.AveragedModel(m)) | update: <AVERAGED>
ema_of_buffers | prepare: more.append(averaged(m, use_buffers=True)) | update: <AVERAGED>
  | model: images | shape: (2, 6, 6)
ema_copying_buffers | prepare: more.append(averaged(m)) | update: <AVERAGED>
  | model: images | shape: (2, 6, 6)
penalty | prepare: penalty = Penalty(m, list(m.parameters()), 0.01, 0.02)
  | update: penalty.penalise(); o.step()
penalty_in_the_loss | loss: F.cross_entropy(m(x), y) + 0.01 * sum(p.pow(2).sum() for p in m.parameters())
with_zeros | prepare: for p in m.parameters(): p.grad = rv.zeros_like(p)
  | zero: o.zero_grad(set_to_none=False)
onto_gradients_in_memory_of_numpy
  | prepare: for p in m.parameters(): p.grad = rv.from_numpy(np.zeros(p.shape,
    np.float32))\nmore += [p.grad for p in m.parameters()] | zero: pass
accumulated_over_calls | zero: pass
schedule | prepare: <CYCLE>
schedule_of_adam | prepare: o = optim.AdamW(m.parameters(), lr=0.01); <CYCLE>
groups | prepare: o = optim.Adam([{'params': m[0].parameters(), 'lr': 0.1}, {'params': m[3].parameters()}])
normalised_weights
  | prepare: nn.utils.weight_norm(m[0]); nn.utils.spectral_norm(m[3]); o = optim.Adam(m.parameters())
frozen | prepare: m[0].weight.requires_grad_(False)
tied | model: tied
update_by_hand | zero: m.zero_grad() | update: descend(m.parameters())
hooked_after
  | prepare: for p in m.parameters(): p.register_post_accumulate_grad_hook(lambda p: descend([p]))
  | update: pass
by_grad
  | step: p = list(m.parameters()); loss = F.cross_entropy(m(x), y); descend(p, grad(loss, p)); return loss
several_losses | before: z = m(x)
  | loss: F.cross_entropy(z, y) + 0.5 * F.mse_loss(z, F.one_hot(y, 3).float()) + 0.1 * z.abs().mean()
two_backwards | before: z = m(x); a = F.cross_entropy(z, y); a.backward(retain_graph=True)
  | loss: (z * z).mean() | result: a + loss
weights_of_root
  | step: o.zero_grad(); a = F.cross_entropy(m(x), y, reduction='none'); a.backward(rv.full((4,), 0.25));
    o.step(); return a.sum()
adversary | before: z = x.clone().requires_grad_(); (g,) = grad(F.cross_entropy(m(z), y), [z])
  | loss: F.cross_entropy(m(x + 0.1 * g.sign()), y)
hooked
  | prepare: m[0].weight.register_hook(lambda g: g * 0.5);
    m[3].register_forward_hook(lambda module, a, y: y * 2)
hooked_modules
  | prepare: m[3].register_full_backward_pre_hook(lambda module, dy: (dy[0] * 2,));
    m[0].register_full_backward_hook(halved)
images | model: images | shape: (2, 6, 6)
cumulative_statistics | model: images | shape: (2, 6, 6) | model: lambda: images(None)
double | model: lambda: mlp().double() | dtype: np.float64
double_data_of_a_float_model | loss: F.cross_entropy(m(x.double().float()), y)
function_of_weights | prepare: weights = {'w': rv.randn(3, 6), 'b': rv.zeros(3)}; more.append(weights)
  | step: loss = lambda w: F.cross_entropy(F.linear(x, w['w'], w['b']), y); value, gradients =
    rv.value_and_grad(loss)(weights)\nfor name, gradient in
    gradients.items(): weights[name] -= 0.1 * gradient\nreturn value
slow_target | prepare: target = copy.deepcopy(m).eval(); more.append(target)
  | before: with rv.no_grad(): wanted = rv.softmax(target(x), 1) | loss: F.cross_entropy(m(x), wanted)
  | update: o.step()\nwith rv.no_grad():\n    for t, p in zip(target.parameters(),
    m.parameters()): t.mul_(0.9).add_(p, alpha=0.1)
gan
  | prepare: critic = nn.Sequential(nn.Linear(3, 4), nn.LeakyReLU(), nn.Linear(4, 1)); more.append(critic);
    second = optim.RMSprop(critic.parameters(), lr=0.01); bce = F.binary_cross_entropy_with_logits
  | before: z = m(x); second.zero_grad(); of_critic = bce(critic(F.one_hot(y, 3).float()), rv.ones(4, 1));
    of_critic = of_critic + bce(critic(z.detach()), rv.zeros(4, 1)); of_critic.backward();
    second.step()\nwith rv.no_grad():\n    for p in critic.parameters(): p.clamp_(-0.4, 0.4)\no.zero_grad()
  | loss: bce(critic(z), rv.ones(4, 1)) | result: of_critic, loss
micro_batches
  | step: o.zero_grad(); total = 0.0\nfor part, labels in zip(x.split(2), y.split(2),
    strict=True):\n    loss = F.cross_entropy(m(part), labels) / 2; loss.backward();
    total = total + loss.detach()\no.step(); return total
retained | before: hidden = m[0](x); hidden.retain_grad() | loss: F.cross_entropy(m[3](hidden.relu()), y)
  | result: loss, hidden.grad.abs().mean()
recurrent | shape: (3, 6) | model: layers((nn.Linear, 6, 8), (nn.Linear, 8, 8), (nn.Linear, 8, 3))
  | prepare: carried = rv.zeros(4, 8); more.append(carried)
  | before: hidden = carried.clone()\nfor t in range(3): hidden = (m[0](x[:, t]) +
    m[1](hidden)).tanh()\ncarried.copy_(hidden.detach()) | loss: F.cross_entropy(m[2](hidden), y)
words | model: layers((nn.Embedding, 3, 8, 0), (nn.LayerNorm, 8), (nn.Linear, 6, 8))
  | loss: F.mse_loss(m[1](m[2](x)), m[0](y))
attention | shape: (5, 6) | model: layers((nn.Linear, 6, 18), (nn.LayerNorm, 6), (nn.Linear, 6, 3))
  | before: q, k, v = m[0](m[1](x)).reshape(4, 5, 3, 2, 3).permute(2, 0, 3, 1, 4);
    scores = (q @ k.transpose(-2, -1) / 3**0.5).masked_fill(rv.ones(5, 5).tril() == 0, -INF);
    mixed = (rv.softmax(scores, -1) @ v).transpose(1, 2).reshape(4, 5, 6)
  | loss: F.cross_entropy(m[2](x + mixed).mean(1), y)
transformer | shape: (5, 6) | model: transformer
  | before: h = m[1](m[0](x), src_key_padding_mask=x[:, :, 0] > 1, is_causal=True);
    h, weights = m[2](h, h, h[:, :, :3], attn_mask=rv.zeros(5, 5) - 0.5)
  | loss: F.cross_entropy(m[3](h.mean(1)), y) + weights.square().mean()
metrics | before: out = m(x); right = out.argmax(1) == y | loss: F.cross_entropy(out, y)
  | result: {'loss': loss, 'right': right.float().mean(), 'count': right.sum(), 'all': right.all()}
counted | prepare: count, total, last = more[:] = rv.zeros((), dtype=rv.int64), rv.zeros(3), rv.zeros(4, 3)
  | before: out = m(x)\nwith rv.no_grad(): count.add_(1); total.add_(out.detach().sum(0));
    last.copy_(out.detach()) | loss: F.cross_entropy(out, y) * (1 + 0.1 * total.abs().mean())
gradient_penalty | shape: (2, 6, 6) | model: critic
  | before: z = (x * 0.3 - x.flip(0) * 0.7).requires_grad_(True); score = m(z);
    (g,) = grad(score, z, rv.ones_like(score), create_graph=True)
  | loss: m(x).mean() + 10 * ((g.flatten(1).norm(2, dim=1) - 1) ** 2).mean()
heat | model: smooth
  | before: z = x.detach().requires_grad_(True); u = m(z); (u_z,) = grad(u.sum(), z, create_graph=True);
    (u_zz,) = grad(u_z[:, :1].sum(), z, create_graph=True) | loss: ((u_z[:, 1] - u_zz[:, 0]) ** 2).mean()
maml | model: lambda: nn.Linear(6, 3)
  | before: weights = [m.weight, m.bias]\nfor _ in range(2):\n    slopes = grad(F.cross_entropy(F.linear(x,
    *weights), y), weights, create_graph=True)\n    weights = [w - 0.1 * g for w, g in zip(weights, slopes,
    strict=True)] | loss: F.cross_entropy(F.linear(x, *weights), y)
second_derivative_by_numpy
  | before: z = x.clone().requires_grad_(True); (g,) = grad((m(z).atan() ** 2).sum(), z, create_graph=True)
  | loss: (g * g).mean()
projected_descent
  | before: delta = rv.zeros_like(x).uniform_(-0.1, 0.1);
    delta.requires_grad = True\nfor _ in range(3):\n    F.cross_entropy(m(x + delta), y).backward();
    gradient = delta.grad.detach()\n    delta.data = rv.clamp(delta + 0.02 * rv.sign(gradient), -0.1, 0.1);
    delta.grad.zero_()\no.zero_grad() | loss: F.cross_entropy(m(x + delta.detach()), y)
  | result: loss, gradient
gradients_held_while_others_are_added | zero: m.zero_grad(); F.cross_entropy(m(x), y).backward()
  | before: first = [p.grad for p in m.parameters()] | loss: F.cross_entropy(m(-x), y)
  | result: [g * 2 for g in first]
reptile | zero: before = copy.deepcopy(m.state_dict()); m.zero_grad()
  | update: descend(m.parameters()); after = m.state_dict();
    m.load_state_dict({k: before[k] + (after[k] - before[k]) * 0.1 for k in before})
arrays_by_their_class | arrays: True | before: x, y = rv.FloatTensor(x), rv.LongTensor(y)
  | loss: (F.cross_entropy(m(x), y, reduction='none') * rv.FloatTensor([1.0, 0.5, 2.0, 1.0])).mean()
""",
    AVERAGED="o.step(); more[0].update_parameters(m)",
    CYCLE="SCHEDULE.update(step=optim.lr_scheduler.OneCycleLR(o, 0.5, total_steps=10).step)",
)
PLAIN = parts(
    """
plain | model: mlp | shape: (6,) | dtype: np.float32 | arrays: False | prepare: pass | zero: o.zero_grad()
  | before: pass | loss: F.cross_entropy(m(x), y) | update: o.step() | result: loss
"""
)["plain"]
STEP = "{zero}\n{before}\nloss = {loss}\nloss.backward()\n{update}\nreturn {result}"


def maker(name):
    """For `same`: a model, its optimizer and a step; and the inputs of a call."""
    row = {**PLAIN, **ROWS[name]}
    step = row.get("step") or STEP.format(**row)
    parts = textwrap.indent(row["prepare"], " " * 4), textwrap.indent(step, " " * 8)
    source = "def made(m, o, more):\n{}\n    def step(x, y):\n{}\n    return step, m, o, more\n".format(
        *parts
    )

    def make():
        names = {**globals(), "INF": float("inf")}
        exec(compile(source, "step", "exec"), names)
        model = eval(row["model"], names)()
        return names["made"](model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9), [])

    def inputs(number):
        rng = np.random.default_rng(number)
        x = rng.standard_normal((4, *eval(row["shape"]))).astype(eval(row["dtype"]))
        y = rng.integers(0, 3, 4)
        return (x, y) if "arrays" in ROWS[name] else (rv.tensor(x), rv.tensor(y))

    return make, inputs


@pytest.mark.parametrize("name", ROWS)
def test_as_the_eager_step(name):
    after = (lambda *_: SCHEDULE["step"]()) if name.startswith("schedule") else None
    assert same(*maker(name), CALLS, after).programs


def leaves(x):
    parts = x.values() if isinstance(x, dict) else x if isinstance(x, (list, tuple)) else None
    return [x.detach()] if parts is None else [leaf for part in parts for leaf in leaves(part)]


@pytest.mark.parametrize("name", [name for name in ROWS if not name.startswith("schedule")])
def test_many_calls_in_one(name):
    """By `step.run`."""
    (make, inputs), results = maker(name), []

    def keeps(step):
        return lambda *given: results.append(leaves(step(*given)))

    shown, _ = played(make, inputs, keeps, CALLS)
    rv.manual_seed(3)
    step, *watched = make()
    data = [np.stack([*map(np.asarray, arrays)]) for arrays in zip(*map(inputs, range(CALLS)), strict=True)]
    found = strict(step).run(*(data if "arrays" in ROWS[name] else map(rv.tensor, data)))
    assert [bits(list(parts)) for parts in zip(*leaves(found), strict=True)] == [*map(bits, results)]
    assert (bits(watched), rv.random.current().plain_state()["calls"]) == shown[-1][1:]


def test_second_derivatives_of_max_pooling_are_refused():
    w = rv.ones(2, 1, 8, requires_grad=True)

    def step(x):
        (g,) = grad((F.max_pool1d(w * x, 2) ** 2).sum(), w, create_graph=True)
        return grad((g * g).sum(), w)[0]

    refused(rv.CaptureError, "the second derivative of max pooling", strict(step), rv.rand(2, 1, 8))


def test_rounding_of_gradients_that_cancel_is_no_difference():
    """The gradient of a bias before a batch norm is rounding alone: sums in another order make it another."""
    model = nn.Sequential(
        nn.Conv2d(3, 5, 2), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 16, 3), nn.MaxPool2d(3), nn.Flatten()
    )
    optimizer = optim.SGD(model.parameters(), lr=0.01)

    def step(x):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()

    step, rng = strict(step), np.random.default_rng(0)
    for _ in range(3):
        step(rng.standard_normal((5, 3, 8, 8)).astype(np.float32))
