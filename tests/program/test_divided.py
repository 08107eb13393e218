"""Steps that cannot be captured as a whole: regions of them are, and the step does what it did."""

import warnings

import numpy as np
import pytest
import ranvier as rv
from support.divided_steps import HEAD, body, load, outcome

TRAIN = (
    "optimizer.zero_grad()\nout = model(x)\nloss = F.cross_entropy(out, y)\nloss.backward()\noptimizer.step()"
)
# name: (statements with TRAIN for a training step, result, regions with a program)
STEPS = {
    "item at the end": ("TRAIN\nstate.total += loss.item()", "loss.item()", 1),
    "a list": ("TRAIN\nstate.items.append(loss.item())", "state.total", 1),
    "a Tensor in a list": ("TRAIN\nstate.items.append(loss)\nprint(loss)", "loss", 1),
    "printed": ("TRAIN\nprint(f'{loss.item():.3f}', out.requires_grad, out.grad_fn is None)", "loss", 1),
    "a condition at the end": ("TRAIN\nif loss.item() > 1.3:\n    print('high')", "loss", 1),
    "an error at the end": (
        "TRAIN\nstate.calls += 1\nif state.calls == 5:\n    raise ValueError(n)",
        "loss",
        1,
    ),
    "a counter at the beginning": ("state.calls += 1\nTRAIN\nprint(state.calls)", "loss", 1),
    "drawn indices": ("i = rv.randint(0, 5, (5,))\nx = x[i]\nTRAIN", "loss", 1),
    "a schedule": ("rate = 0.9\nTRAIN\noptimizer.param_groups[0]['lr'] *= rate", "loss", 1),
    "the accuracy": ("TRAIN\nright = (out.argmax(1) == y).sum().item()", "right / len(y)", 1),
    "between two updates": ("TRAIN\nprint(loss.item())\nTRAIN", "loss", 2),
    "in a loop": ("for i in range(3):\n    print(i)\n    TRAIN\n    state.total += loss.item()", "loss", 1),
    "in a loop with break": (
        "while True:\n    TRAIN\n    n += 1\n    if loss.item() > 0:\n        break",
        "n",
        1,
    ),
    "in a branch": ("print(c.item())\nif n > 2:\n    TRAIN", "loss", 1),
    "under no_grad": ("with rv.no_grad():\n    print(c.item())\n    d = (a * b).sum().exp()", "d", 2),
    "rebound": ("x = x * 2\nx = x.tanh()\na = x.exp()\nprint(c.item())\nx = x + a", "x, a, n", 1),
    "an argument kept": ("before = x\nx = (x * 2).tanh()\nx = x.exp()\nprint(c.item())", "before, x", 1),
    "an argument in a list": ("both = [x, a]\nTRAIN\nprint(c.item())", "both[0]", 1),
    "a function inside": ("def f(v):\n    return v * n\nTRAIN\nprint(f(loss).item())", "loss", 1),
    "a variable of a function inside": (
        "def f():\n    return c.item() + n\nn = 5\nTRAIN\nprint(f())\nn = 6",
        "f()",
        1,
    ),
    "a variable of a function inside, bound again": (
        "m = 5\nprint(c.item())\nf = lambda v: v * m\nTRAIN\nprint(loss.item())\nm = 6",
        "f(loss)",
        1,
    ),
    "the same in a branch": (
        "if n:\n    m = 5\n    print(c.item())\n    f = lambda v: v * m\n    TRAIN\n    print(n)\n    m = 6",
        "f(loss)",
        1,
    ),
    "the same of an argument": (
        "print(c.item())\nf = lambda v: v * k\nTRAIN\nprint(loss.item())\nk = 6",
        "f(loss)",
        1,
    ),
    "the same, bound once": ("m = 5\nprint(c.item())\nd = (lambda v: (v * m).tanh())(a * b)", "d", 2),
    "a manager that has a name of the library's": (
        "rv = SimpleNamespace(no_grad=contextlib.suppress)\nTRAIN\nwith rv.no_grad(ZeroDivisionError):\n"
        "    a = (a * b).exp().tanh()\n    print(c.item())\n    n = 1 / (n - 3)\n    a = b.exp()",
        "a",
        2,
    ),
    "a manager that a call gives": (
        "TRAIN\nwith (lambda: rv.no_grad)()():\n    print(c.item())\n    d = (a * b).exp()",
        "d",
        1,
    ),
    "a comprehension": ("TRAIN\nprint([v.item() for v in (loss, c)])\nn = sum(v for v in (1, n))", "n", 1),
    "starred and unpacked": ("TRAIN\nfirst, *rest = loss, a, b\nprint(first.item(), len(rest))", "rest", 1),
    "an exception inside": (
        "TRAIN\ntry:\n    print(loss.item() / (n - 3))\nexcept ZeroDivisionError:\n    n = 9",
        "n",
        1,
    ),
    "the optimizer outside": (
        TRAIN.rpartition("\n")[0] + "\nprint(loss.item())\noptimizer.step()",
        "loss",
        1,
    ),
    "a function that reads a value": ("TRAIN\nd, a = helper(a, b)\nprint(d, a.sum().item())", "d", 2),
    "a name deleted in a loop": (
        "d = (a * b).tanh()\nprint(c.item())\nfor i in range(k - 2):\n    del d\n"
        "a = (b * 3).tanh()\nb = a.exp()\nn = b * 2 + d",
        "n",
        1,
    ),
    "a declaration alone": (
        "math: int\nTRAIN\nprint(loss.item())\ntry:\n    n = str(math)\nexcept UnboundLocalError:\n    n = 7",
        "n",
        1,
    ),
    "a match": ("match n:\n    case 3:\n        n = 4\nTRAIN\nprint(loss.item())", "n", 1),
    # nothing of these can be captured
    "before the backward pass": (
        TRAIN.replace("loss.backward()", "print(loss.item())\nloss.backward()"),
        "loss",
        0,
    ),
    "looks at its frame": ("TRAIN\nprint(loss.item(), sorted(locals())[0])", "loss", 0),
}


def module(tmp_path, statements, result):
    lines = []
    for line in statements.split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        whole = TRAIN if line.strip() == "TRAIN" else line.strip()
        lines += [" " * 8 + indent + part for part in whole.split("\n")]
    text = HEAD.replace("{body}", "\n".join(lines)).replace("{result}", result)
    return load(tmp_path / "a_step.py", text)


@pytest.mark.parametrize("name", STEPS)
def test_as_the_eager_step(tmp_path, name):
    statements, result, regions = STEPS[name]
    steps = module(tmp_path, statements, result)
    seen, end, _ = outcome(steps, False)
    also, after, step = outcome(steps, True)
    assert also == seen
    assert after == end
    division = step._division
    found = [part for part in division.all() if part.programs] if division else []
    assert len(found) == regions, division and division.why


# name: (statements of a step, of which k differs in each call, k, regions with a program)
NUMBERED = {
    "an operand": ("TRAIN\na = a * k", lambda call: call / 7, 1),
    "a branch": ("TRAIN\nif k % 3 == 1:\n    print(k)", lambda call: call, 1),
    "bound anew": ("k = rv.tensor(k)\nTRAIN\na = a * k", lambda call: call / 7, 1),
    "bound anew in a branch": ("if n:\n    k = rv.tensor(k)\nTRAIN\na = a * k", lambda call: call / 7, 1),
    "items": ("k = rv.LongTensor(k)\nTRAIN\na = a + k.sum()", lambda call: (call, 2), 1),
    "a rate": (
        "TRAIN\nc = sum(p.detach().sum() for p in model.parameters())\n"
        "for p in model.parameters():\n    p.data -= k * p.grad\na = a * c",
        lambda call: 0.1 / (1 + call),
        1,
    ),
    "of few values": ("TRAIN\na = a * k", lambda call: call % 3, 0),
}


@pytest.mark.parametrize("name", NUMBERED)
def test_a_number_that_differs_in_each_call(tmp_path, name):
    """The statements with the number run in Python, the others are captured."""
    statements, numbers, regions = NUMBERED[name]
    steps = module(tmp_path, statements, "loss, a")
    seen, end, _ = outcome(steps, False, 40, numbers)
    also, after, step = outcome(steps, True, 40, numbers)
    assert also == seen
    assert after == end
    division = step._division
    assert sum(part.latest is not None for part in (division.all() if division else [])) == regions
    assert (step.latest is not None) == (not regions)


@pytest.mark.parametrize(
    ("statements", "result", "given"),
    [
        ("for p in model.parameters():\n    n += 1\nprint(c.item())\nd = p.sum().exp().tanh()", "d", True),
        ("for p in ():\n    n += 1\nelse:\n    n = 9\nprint(c.item())\nd = a.exp().tanh() * n", "d", True),
        ("print(c.item())\nd = a.exp().tanh() * b\nfor p in (1, 2):\n    d = d * p", "d, p", True),
        (
            "for i in range(n):\n    print(c.item())\n    for p in (1, 2):\n        a = a.exp().tanh() * p",
            "a, p",
            True,
        ),
        ("print(c.item())\nfor p in ():\n    a = a.exp()\na = a.exp().tanh() * p", "a", False),
    ],
)
def test_the_variable_of_a_loop(tmp_path, statements, result, given):
    steps = module(tmp_path, statements, result)
    seen, end, _ = outcome(steps, False)
    also, after, _ = outcome(steps, True)
    assert also == seen
    assert after == end
    assert ("UnboundLocalError" in str(seen)) != given


@pytest.mark.parametrize("seed", range(40))
def test_random_steps(tmp_path, seed):
    lines, result = body(seed)
    steps = load(tmp_path / "a_step.py", HEAD.replace("{body}", lines).replace("{result}", result))
    seen, end, _ = outcome(steps, False)
    also, after, _ = outcome(steps, True)
    assert also == seen
    assert after == end


def test_no_warning_where_a_region_is_captured(tmp_path):
    step, *_ = module(tmp_path, "TRAIN\nprint(loss.item())", "loss").make()
    compiled = rv.compile(step)
    x, y = rv.ones(5, 6), rv.zeros(5, dtype=rv.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(6):
            compiled(x, y)
    assert [len(p.instructions) > 5 for p in compiled.programs] == [True]


def test_strict_does_not_divide(tmp_path):
    step, *_ = module(tmp_path, "TRAIN\nprint(loss.item())", "loss").make()
    with pytest.raises(rv.CaptureError, match="item"):
        rv.compile(step, strict=True)(rv.ones(5, 6), rv.zeros(5, dtype=rv.int64))


def test_a_method_and_its_error(tmp_path):
    """Tracebacks show the lines of the source."""
    text = (
        "import ranvier as rv\n\n\nclass Learner:\n    def __init__(self):\n        self.w = rv.ones(3)\n\n"
        "    @rv.compile\n    def step(self, x):\n        y = (x * self.w).exp()\n        y = y.tanh() + 1\n"
        "        if y.sum().item() > 5.5:\n            raise ValueError('large')\n        return y\n"
    )
    learner = load(tmp_path / "a_method.py", text).Learner()
    x = rv.tensor(np.zeros(3, np.float32))
    for _ in range(5):
        assert learner.step(x).tolist() == pytest.approx([1.7615942] * 3)
    assert len(type(learner).step.programs) == 1
    with pytest.raises(ValueError, match="large") as error:
        learner.step(x + 9)
    assert [entry.lineno + 1 for entry in error.traceback][-1] == 13


def test_changed_source_is_not_used(tmp_path):
    """The file no longer has the code that runs."""
    steps = module(tmp_path, "TRAIN\nprint(loss.item())", "loss")
    path = tmp_path / "a_step.py"
    path.write_text(path.read_text().replace("lr=1e-2", "lr=1e-1").replace("print(loss.item())", "print(1)"))
    step, *_ = steps.make()
    with pytest.warns(UserWarning, match="item"):
        rv.compile(step)(rv.ones(5, 6), rv.zeros(5, dtype=rv.int64))
