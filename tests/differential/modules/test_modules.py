"""The cases of PyTorch's own lists of modules: each is right, or EXCLUDED says why it is not compared."""

import re
from collections import Counter

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("expecttest", reason="expecttest, which PyTorch's lists need, is not installed")

from differential.modules.cases import Case, Input, cases  # noqa: E402
from differential.modules.judge import judge  # noqa: E402

# What is not compared: a regular expression, searched in "title: message", and the reason.
EXCLUDED = {
    r"3[dD]|trilinear": "volumes, which docs/versions.md leaves out",
    r"complex": "complex numbers, which docs/versions.md leaves out",
    r"CrossMapLRN2d|FractionalMaxPool|LinearCrossEntropy": "a name that is not here",
    r"(Multi|Soft)(Label)?(Soft)?Margin|multimargin|TripletMarginWithDistance": "a name that is not here",
    r"(Hinge|Cosine)Embedding|CircularPad2d|ChannelShuffle|Dropout1d": "a name that is not here",
    r"Lazy(Conv1d|ConvTranspose|BatchNorm1d|InstanceNorm)|Softmin|LPPool1d": "a name that is not here",
    r"TransformerEncoder#4 .*gradient 3: 4 of 32": "one ReLU in bfloat16: its input is 0 but for rounding",
    r"InstanceNorm.* tracking_stats: running_": "statistics in halves, which PyTorch rounds at each step",
    r"in PyTorch: .*not implemented for": "half floats, for which PyTorch has no kernel",
    r"(RNN|GRU|LSTM)#2: DtypeError": "a wrong dtype is a TypeError here, there a ValueError",
    r"NLLLoss#0: returned": "a weight is cast to the dtype of the scores, there refused",
    r"BatchNorm.d#1: returned": "eps = 0, which ONNX files may have, is refused there",
}
# How many cases must be right at least: fewer would mean that the lists were not read.
LEAST = {"module_db": 2030, "module_errors": 226, "module_halves": 2038, "common_nn": 218, "attention": 200}


def excluded(text: str) -> str | None:
    """The reason why a case is not compared, or None."""
    return next((why for part, why in EXCLUDED.items() if re.search(part, text)), None)


@pytest.mark.parametrize("source", LEAST)
def test_modules(source, capsys):
    counts, faults = Counter(), []
    for case in cases(source):
        verdict, message = judge(case)
        why = None if verdict == "right" else excluded(f"{case.title}: {message}")
        counts[why or verdict] += 1
        if verdict != "right" and why is None:
            faults.append(f"{verdict}: {case.title} {case.dtype} training={case.training}: {message}")
    with capsys.disabled():
        print(f"\n{source}: {dict(counts)}")
    assert not faults, "\n".join(faults[:20])
    assert counts["right"] >= LEAST[source]


def linear(ours, **settings):
    """A case that compares `ours`, a class derived from Linear, with PyTorch's Linear."""
    x = torch.ones(2, 3, requires_grad=True)
    return Case("x", torch.nn.Linear, ours, Input(3, 2), Input(x), torch.float32, **settings)


def test_the_judge_sees_what_is_wrong():
    import ranvier as rv

    class Doubled(rv.nn.Linear):
        def forward(self, input):
            return super().forward(input) * 2

    class Detached(rv.nn.Linear):
        def forward(self, input):
            return super().forward(input.detach())

    class WithoutBias(rv.nn.Linear):
        def __init__(self, *sizes):
            super().__init__(*sizes, bias=False)

    assert judge(linear(rv.nn.Linear)) == ("right", "")
    wrong = [judge(linear(kind)) for kind in (Doubled, Detached, WithoutBias)]
    assert [verdict for verdict, _ in wrong] == ["wrong"] * 3
    starts = [re.match(r"\w+ \w+", message)[0] for _, message in wrong]
    assert starts == ["result 0", "gradient 0", "state dict"]
    expects_error = linear(rv.nn.Linear, error=(ValueError, False))  # raised by the call, not the constructor
    assert judge(expects_error) == ("wrong", "returned; expected ValueError")
