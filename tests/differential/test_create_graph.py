"""Gradients of gradients and graphs of random programs, beside PyTorch's."""

import re
from contextlib import nullcontext

import numpy as np
import pytest
import ranvier as rv
from differential.random_pairs import compare, draw

torch = pytest.importorskip("torch", reason="torch is not installed")

STEPS = 4


def same_weights(model):
    """The same parameters in both libraries, in float64."""
    rng = np.random.default_rng(3)
    state = model.state_dict()
    for name, value in state.items():
        if value.ndim:
            fan = max(1, int(np.prod(value.shape[1:])))
            drawn = rng.uniform(-1, 1, tuple(value.shape)) / np.sqrt(fan)
            state[name] = (drawn + 1.5) if name.endswith("running_var") else drawn
    return state


def load(T, model):
    model = model.double()
    state = same_weights(model)
    model.load_state_dict({k: v if hasattr(v, "detach") else T.tensor(v) for k, v in state.items()})
    return model


def wgan_gp(T, draw):
    nn = T.nn
    critic = load(
        T,
        nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4, 6, 3, padding=1, groups=2),
            nn.InstanceNorm2d(6, affine=True),
            nn.LeakyReLU(0.2),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(24, 1),
        ),
    )
    generator = load(
        T,
        nn.Sequential(
            nn.ConvTranspose2d(3, 4, 4),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.ConvTranspose2d(4, 2, 2, 2),
            nn.Tanh(),
        ),
    )
    betas = {"lr": 1e-2, "betas": (0.5, 0.9)}
    optimizers = [T.optim.Adam(m.parameters(), **betas) for m in (critic, generator)]
    losses = []
    for _ in range(STEPS):
        real, z, alpha = draw(5, 2, 8, 8), draw(5, 3, 1, 1), draw(5, 1, 1, 1)
        fake = generator(z)
        mixed = (alpha * real + (1 - alpha) * fake.detach()).requires_grad_(True)
        score = critic(mixed)
        (slope,) = T.autograd.grad(
            outputs=score,
            inputs=mixed,
            grad_outputs=T.ones_like(score),
            create_graph=True,
            retain_graph=True,
            only_inputs=True,
        )
        penalty = ((slope.view(slope.size(0), -1).norm(2, dim=1) - 1) ** 2).mean()
        loss = critic(fake.detach()).mean() - critic(real).mean() + 10 * penalty
        optimizers[0].zero_grad()
        loss.backward()
        optimizers[0].step()
        optimizers[1].zero_grad()
        other = -critic(fake).mean()
        other.backward()
        optimizers[1].step()
        losses += [loss.item(), penalty.item(), other.item()]
    return losses, [*critic.parameters(), *generator.parameters()]


def maml(T, draw):
    """Two inner steps for each task; the outer gradient goes through both."""
    nn, F = T.nn, T.nn.functional
    model = load(T, nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 2)))
    optimizer = T.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []

    def forward(x, weights):
        w1, b1, w2, b2 = weights
        h = F.layer_norm(F.linear(x, w1, b1), (8,))
        return F.linear(F.silu(h), w2, b2)

    for _ in range(STEPS):
        total = 0.0
        for _ in range(2):
            weights = list(model.parameters())
            x, target = draw(6, 3), T.tensor([0, 1, 1, 0, 1, 0])
            for _ in range(2):
                loss = F.cross_entropy(forward(x, weights), target)
                slopes = T.autograd.grad(loss, weights, create_graph=True)
                weights = [w - 0.5 * g for w, g in zip(weights, slopes, strict=True)]
            total = total + F.cross_entropy(forward(x + 0.1, weights), target)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
    return losses, list(model.parameters())


def hessian_products(T, draw):
    """The largest eigenvalue of the Hessian of a small transformer's loss, by the power method."""
    nn = T.nn
    layer = nn.TransformerEncoderLayer(6, 2, 8, 0.0, "gelu", batch_first=True)
    model = load(T, nn.Sequential(layer, nn.Flatten(), nn.Linear(24, 3)))
    x, y = draw(5, 4, 6), T.tensor([0, 2, 1, 1, 0])
    with T.nn.attention.sdpa_kernel(T.nn.attention.SDPBackend.MATH) if T is torch else nullcontext():
        loss = nn.functional.cross_entropy(
            model(x), y, label_smoothing=0.1
        )  # the others stop at first gradients
    leaves = list(model.parameters())
    slopes = T.autograd.grad(loss, leaves, create_graph=True)
    v, found = [draw(*p.shape) for p in leaves], []
    for _ in range(STEPS):
        dot = sum((g * w).sum() for g, w in zip(slopes, v, strict=True))
        v = T.autograd.grad(dot, leaves, retain_graph=True)
        length = sum((w * w).sum() for w in v) ** 0.5
        found.append(length.item())
        v = [w / length for w in v]
    return found, v


@pytest.mark.parametrize("program", [wgan_gp, maml, hessian_products])
def test_as_pytorch(program):
    results = []
    for T in (rv, torch):
        rng = np.random.default_rng(0)

        def draw(*shape, T=T, rng=rng):
            return T.tensor(rng.uniform(-1, 1, shape))

        losses, tensors = program(T, draw)
        results.append((losses, [t.detach().numpy() for t in tensors]))
    (losses, ours), (wanted, theirs) = results
    np.testing.assert_allclose(losses, wanted, rtol=1e-8)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)


PROGRAMS = 125  # more find gradients of a quotient itself, which is part of its own derivative here only
LEAF = re.compile(r"(a\d+) = .*requires_grad=True\)$")


def test_random_programs_of_views_and_changes_in_place():
    """Programs of test_random_programs.py that end in a gradient of gradients."""
    wrong, same = [], 0
    for seed in range(PROGRAMS):
        *program, last = draw(seed) or [""]
        terms = re.findall(r"\((a\d+) \* (\d+)\.0\)\.sum\(\)", last)
        text = "\n".join(program)
        if not terms or ".norm(" in text or "(0," in text:  # at a norm of 0 PyTorch's is NaN
            continue
        leaves = [found[1] for line in program if (found := LEAF.match(line))]
        program += [
            f"l = {' + '.join(f'({a} * {a} * {a} * {k}.0).sum()' for a, k in terms)}",
            f"g = T.autograd.grad(l, [{', '.join(leaves)}], create_graph=True, allow_unused=True)",
            "h = sum([(x * x).sum() for x in g if x is not None])",
            "h.backward()",
        ]
        verdict = compare(program)
        same += verdict.kind == "same"
        if verdict.kind in ("differs", "crash"):
            wrong.append("\n".join([f"# seed {seed}: {verdict.detail}", *program]))
    assert not wrong, "\n\n".join(wrong[:5])
    assert same >= PROGRAMS // 2


# Random graphs with hooks on tensors, nodes and modules, and new memory before backward, as in PyTorch.


GRAPHS = 100
OPS = [
    lambda T, F, a, b: a * b,
    lambda T, F, a, b: a + b,
    lambda T, F, a, b: a @ b,
    lambda T, F, a, b: a - b * 0.5,
    lambda T, F, a, b: T.sin(a),
    lambda T, F, a, b: T.exp(-a * a) + b,
    lambda T, F, a, b: a.reshape(4).reshape(2, 2).transpose(0, 1) * b,
    lambda T, F, a, b: T.cat([a, b])[1:3],
    lambda T, F, a, b: T.stack(T.unbind(a)[::-1]) + b,
    lambda T, F, a, b: F.apply(a, b)[0] + F.apply(b, a)[1],
]


def function(T):
    class Pair(T.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            ctx.k = 0.5
            return a * b, a - b

        @staticmethod
        def backward(ctx, da, db):
            a, b = ctx.saved_tensors
            return da * b + db, (da * a - db) * (ctx.k * 2)

    return Pair


class Graph:
    """One graph in one library; the same numbers are drawn in each."""

    def __init__(self, T, seed, create_graph):
        self.T, self.rng, self.log = T, np.random.default_rng(seed), {}
        self.values = [self.draw() for _ in range(3)]
        self.leaves = list(self.values)
        self.module = T.nn.Tanh()
        pair = function(T)
        for step in range(8):
            op = OPS[self.rng.integers(len(OPS))]
            a, b = (self.values[i] for i in self.rng.integers(len(self.values), size=2))
            value = op(T, pair, a, b)
            if self.rng.random() < 0.3:
                value = self.hooked_module(step)(value)
            self.values.append(value)
            for kind in (self.hook, self.node_hook, self.retain):
                if self.rng.random() < 0.25:
                    kind(step, value)
        if self.rng.random() < 0.3:
            self.leaf_hook()
        if self.rng.random() < 0.4:
            leaf = self.leaves[self.rng.integers(3)]
            leaf.data = leaf.data * 0.5 + 0.25
        loss = sum((v * v).sum() for v in self.values[-3:])
        loss.backward(create_graph=create_graph)

    def draw(self):
        return self.T.tensor(self.rng.uniform(-1, 1, (2, 2)), requires_grad=True)

    def note(self, key, *gradients):
        self.log.setdefault(key, []).append([None if g is None else array(g) for g in gradients])

    def hook(self, step, value):
        changes, marks, removed = self.rng.random(3) < [0.5, 0.5, 0.2]

        def first(gradient):
            self.note(("hook", step), gradient)
            gradient = gradient * 2 if changes else gradient
            if marks:
                gradient.mark = step
            return gradient if changes else None

        def second(gradient):
            self.note(("second", step), gradient)
            self.log["mark", step] = [getattr(gradient, "mark", None), self.T.is_grad_enabled()]

        handle = value.register_hook(first)
        value.register_hook(second)
        if removed:
            handle.remove()

    def node_hook(self, step, value):
        if self.rng.random() < 0.5:
            value.grad_fn.register_prehook(lambda given: tuple(None if g is None else g * 0.5 for g in given))
        value.grad_fn.register_hook(lambda made, given: self.note(("node", step), *given))

    def retain(self, step, value):
        value.retain_grad()

    def leaf_hook(self):
        leaf = self.leaves[0]
        leaf.register_hook(lambda gradient: gradient * 3)
        leaf.register_post_accumulate_grad_hook(lambda x: self.note("accumulated", x.grad))

    def hooked_module(self, step):
        module = self.T.nn.Tanh()
        scale = float(self.rng.random() + 0.5)

        def before(module, given):
            return (given[0] * scale,) if scale > 1 else None

        def after(module, made, given):
            self.note(("module", step), *made, *given)
            return (made[0] * scale,) if scale < 0.8 else None

        module.register_full_backward_pre_hook(before)
        module.register_full_backward_hook(after)
        return module

    def results(self):
        retained = [v.grad for v in self.values[3:] if v.retains_grad]
        grads = [leaf.grad for leaf in self.leaves] + retained
        return {**self.log, "grads": [None if g is None else array(g) for g in grads]}


def array(tensor):
    return tensor.detach().numpy().copy()


def links(value):
    """The leaves that a walk along next_functions meets, by their id."""
    found, stack, seen = {}, [value.grad_fn], set()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found[id(node.variable)] = True
        stack += [other for other, _ in node.next_functions]
    return found


def same(a, b, where):
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            same(a[key], b[key], (where, key))
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for x, y in zip(a, b, strict=True):
            same(x, y, where)
    elif isinstance(a, np.ndarray):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9, err_msg=str(where))
    else:
        assert a == b, where


@pytest.mark.filterwarnings("ignore:Using backward")
@pytest.mark.parametrize("create_graph", [False, True])
def test_graphs_with_hooks(create_graph):
    refused = 0
    for seed in range(GRAPHS):
        theirs = Graph(torch, seed, create_graph)
        try:
            ours = Graph(rv, seed, create_graph)
        except RuntimeError as error:
            if "`.data = ...`" not in str(error):
                raise
            refused += 1
            continue
        same(ours.results(), theirs.results(), seed)
        mine, wanted = (links(g.values[-1]) for g in (ours, theirs))
        assert [id(x) in mine for x in ours.leaves] == [id(x) in wanted for x in theirs.leaves], seed
    assert refused <= GRAPHS // 20
