"""A module of the library that is imported late: its ops are captured as if it had been there before."""

import pytest
from ranvier.ops.table import AT_FIRST_USE, FUNCTIONAL
from support.python import printed

# One op of each module that is loaded at its first use; x: (3, 3), a weight's product.
ROWS = {
    "matrix.algebra": "rv.addmm(x, x, x)",
    "reduction.variance": "rv.var(x)",
    "reduction.sort": "rv.topk(x, 2)[0]",
    "shape.repeat": "rv.tril(x)",
    "shape.scatter": "rv.scatter_add(x, 0, PLACES, x)",
    "shape.arrange": "rv.diag_embed(x)",
    "reduction.quantiles": "rv.isin(x, x) * x",
    "elementwise.elementary": "rv.erf(x)",
    "making.draws": "rv.normal(0.0, 1.0, (3, 3)) * x",
    "elementwise.logic": "rv.logical_not(x).float() * x",
    "elementwise.pairs": "x % 2",
    "matrix.cholesky": "rv.cholesky_inverse(x)",
    "matrix.exponential": "rv.matrix_exp(x)",
    "matrix.inverse": "rv.det(x) * x",
    "matrix.factors": "rv.pinverse(x)",
    "shape.write": "rv.scatter_reduce(x, 0, PLACES, x, 'amax')",
    "shape.stacks": "rv.vstack((x, x))",
    "reduction.statistics": "rv.cummax(x, 0)[0]",
    "image.sampling": "F.pixel_shuffle(x.reshape(1, 9, 1, 1), 3)",
    "loss.ctc": "F.ctc_loss(x.log_softmax(1), PLACES[0, :1], 3, 1)",
    "loss.rare": "F.soft_margin_loss(x, x)",
    "neural.functional": "F.normalize(x)",
    "linalg": "rv.linalg.svdvals(x)",
    "matrix.fourier": "rv.stft(x.reshape(9), 4, 2, window=rv.ones(4))",
    "distributions": "rv.distributions.Normal(x, 1.0).rsample()",
    "func": "rv.func.vmap(lambda row: row * 2)(x)",
    "making.rare": "rv.scalar_tensor(2.0) * x",
}
# Each use is the first one of its module, in a recording: it imports the module.
CODE = """
import numpy as np, sys, ranvier as rv
PLACES = rv.tensor([[2, 0, 1]])
weight = rv.ones(3, 3, requires_grad=True)
inputs = [rv.from_numpy(x.astype("f")) for x in np.random.default_rng(0).normal(size=(6, 3, 3))]
STEP = '''
def step(x):
    x = x * weight
    {{before}}
    loss = ({{op}}).sum()
    loss.backward()
    gradient, weight.grad = weight.grad.clone(), None
    return loss, gradient
'''

def outcome(step):
    rv.manual_seed(0)
    outcomes = [step(x) for x in inputs]
    return [(loss.item(), gradient.numpy().tobytes()) for loss, gradient in outcomes]

def compare(op, before="pass"):
    space = dict(globals())
    exec(STEP.format(op=op, before=before), space)
    compiled = rv.compile(space["step"], strict=True)
    assert outcome(compiled) == outcome(space["step"]), op
    assert len(compiled.programs) == 1, op

def refused(function, *args):
    try:
        function(*args)
    except rv.CaptureError as error:
        return str(error)
    raise AssertionError("captured")

{code}
"""
LAYERS = "from ranvier import nn\nfrom ranvier.nn import functional as F\n"  # loads modules, too


def run(code):
    printed("-c", CODE.replace("{{", "{").replace("}}", "}").replace("{code}", code))


def test_each_late_module_has_a_row():
    assert AT_FIRST_USE.keys() | FUNCTIONAL.keys() <= ROWS.keys()


@pytest.mark.parametrize("part", range(6))
def test_first_use_in_a_recording(part):
    """Several modules in each process, where one does not load the other."""
    code = []
    for module in [*ROWS][part::6]:
        own = module in ("linalg", "distributions", "func")
        name = f"ranvier.{module}" if own else f"ranvier.ops.{module}"
        code += [LAYERS] * ("F." in ROWS[module]) + [
            f"assert {name!r} not in sys.modules",
            f"compare({ROWS[module]!r})",
        ]
    run("\n".join(code))


def test_first_use_in_a_refused_recording():
    run(f"""{LAYERS}
bag = nn.EmbeddingBag(5, 3, mode="max")
step = rv.compile(lambda i: (bag(i), rv.take(rv.zeros(3), i)), strict=True)
refused(step, rv.tensor([[0, 1, 2]]))
assert "ranvier.ops.shape.write" in sys.modules
compare({ROWS["shape.write"]!r})
""")


EXP = """
class Exp(Function):
    def forward(self, x):
        self.y = np.exp(x)
        return self.y
    def backward(self, dy):
        return dy * self.y
"""


def test_a_module_of_the_user(tmp_path):
    """Its Functions are captured, too; one that the step itself makes is not."""
    (tmp_path / "of_the_user.py").write_text(
        f"import numpy as np\nfrom ranvier.autograd import Function\n{EXP}"
    )
    inner = EXP.strip().replace("\n", "\n    ")
    run(f"""
from ranvier.autograd import Function
sys.path.insert(0, {str(tmp_path)!r})
compare("of_the_user.Exp().apply(x)", "import of_the_user")
assert "NumPy made" in refused(compare, "Exp().apply(x)", {inner!r})
def f(x):
    import random
    return x * 2
assert [outcome is not None for outcome in map(rv.compile(f, strict=True), inputs)] == [True] * 6
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
    ops = [
        op for module, op in ROWS.items() if module not in ("making.draws", "linalg", "distributions", "func")
    ]
    run(f"""{LAYERS}
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
