"""A module of the library that is imported late: its ops are captured as if it had been there before."""

import subprocess
import sys

import pytest
from ranvier.ops import later

# One op of each module that is loaded at its first use; x: (3, 3), a weight's product.
ROWS = {
    "matrix.algebra": "rv.addmm(x, x, x)",
    "reduction.variance": "rv.var(x)",
    "reduction.sort": "rv.topk(x, 2)[0]",
    "shape.repeat": "rv.tril(x)",
    "shape.scatter": "rv.scatter_add(x, 0, PLACES, x)",
    "shape.arrange": "rv.diag_embed(x)",
    "reduction.quantiles": "rv.msort(x)",
    "elementwise.elementary": "rv.erf(x)",
    "creation": "rv.normal(0.0, 1.0, (3, 3)) * x",
    "elementwise.logic": "rv.logical_not(x).float() * x",
    "elementwise.pairs": "x % 2",
    "matrix.inverse": "rv.det(x) * x",
    "matrix.factors": "rv.pinverse(x)",
    "shape.write": "rv.scatter_reduce(x, 0, PLACES, x, 'amax')",
    "shape.stacks": "rv.vstack((x, x))",
    "reduction.statistics": "rv.cummax(x, 0)[0]",
    "image.sampling": "F.pixel_shuffle(x.reshape(1, 9, 1, 1), 3)",
    "neural.functional": "F.normalize(x)",
    "loss.ctc": "F.multilabel_soft_margin_loss(x, (x.detach() > 0).float())",
    "linalg": "rv.linalg.svdvals(x)",
    "distributions": "rv.distributions.Normal(x, 1.0).rsample()",
    "func": "rv.func.vmap(lambda row: row * 2)(x)",
}
START = """
import numpy as np, ranvier as rv
import sys
PLACES = rv.tensor([[2, 0, 1]])
weight = rv.ones(3, 3, requires_grad=True)
inputs = [rv.from_numpy(x.astype("f")) for x in np.random.default_rng(0).normal(size=(6, 3, 3))]

def outcome(step):
    rv.manual_seed(0)
    outcomes = [step(x) for x in inputs]
    return [(loss.item(), gradient.numpy().tobytes()) for loss, gradient in outcomes]

def compare(step):
    compiled = rv.compile(step, strict=True)
    replayed = outcome(compiled)
    assert replayed == outcome(step)
    assert len(compiled.programs) == 1
"""
LAYERS = """
from ranvier import nn
from ranvier.nn import functional as F
"""  # loads modules, too
STEP = """
def step(x):
    x = x * weight
    loss = ({op}).sum()
    loss.backward()
    gradient, weight.grad = weight.grad.clone(), None
    return loss, gradient
"""


def run(code):
    layers = LAYERS if "nn." in code or "F." in code else ""
    done = subprocess.run([sys.executable, "-c", START + layers + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_each_late_module_has_a_row():
    assert later.OPS.keys() | later.FUNCTIONAL_NAMES.keys() <= ROWS.keys()


@pytest.mark.parametrize("module", ROWS)
def test_first_use_in_a_recording(module):
    name = f"ranvier.{module}" if module in ("linalg", "distributions", "func") else f"ranvier.ops.{module}"
    run(f"assert {name!r} not in sys.modules\n{STEP.format(op=ROWS[module])}\ncompare(step)")


def test_first_use_in_a_refused_recording():
    refused = """
bag = nn.EmbeddingBag(5, 3, mode="max")
try:
    rv.compile(lambda i: (bag(i), rv.take(rv.zeros(3), i)), strict=True)(rv.tensor([[0, 1, 2]]))
except rv.CaptureError:
    assert "ranvier.ops.shape.write" in sys.modules
else:
    raise AssertionError("captured")
"""
    run(f"{refused}{STEP.format(op=ROWS['shape.write'])}\ncompare(step)")


def test_a_module_of_the_user(tmp_path):
    """Its Functions are captured, too; one that the step itself makes is not."""
    kind = """
class Exp(Function):
    def forward(self, x):
        self.y = np.exp(x)
        return self.y
    def backward(self, dy):
        return dy * self.y
"""
    text = f"import numpy as np\nfrom ranvier.autograd import Function\n{kind}"
    (tmp_path / "of_the_user.py").write_text(text)
    step = STEP.replace("    loss =", "    import of_the_user\n    loss =").format(
        op="of_the_user.Exp().apply(x)"
    )
    run(f"sys.path.insert(0, {str(tmp_path)!r})\n{step}\ncompare(step)")
    inner = kind.strip().replace("\n", "\n    ")
    step = STEP.replace("    loss =", f"    {inner}\n    loss =").format(op="Exp().apply(x)")
    run(f"""
from ranvier.autograd import Function
{step}
try:
    compare(step)
except rv.CaptureError as error:
    assert "NumPy made" in str(error), error
else:
    raise AssertionError("captured")
""")


def test_a_first_use_elsewhere_keeps_the_programs():
    """Of a step with layers whose modules import ``ranvier.ops`` and ``ranvier.nn.functional``."""
    operators = (
        "x // 2",
        "x % 2",
        "5 // x",
        "5 % x",
        "+x",
        "(x > 0) & (x < 1)",
        "(x > 0) ^ (x < 1)",
        "~(x > 0)",
    )
    ops = [op for module, op in ROWS.items() if module not in ("creation", "linalg", "distributions", "func")]
    run(f"""
model = nn.Sequential(nn.Conv1d(3, 4, 2), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(4, 2), nn.ELU())
step = rv.compile(lambda x: model(x).sum().detach(), strict=True)
for batch in inputs:
    step(batch[None])
x = weight + 1
for use in {[*operators, *ops]!r}:
    eval(use)
    step(batch[None])
    assert len(step.programs) == 1, use
""")
