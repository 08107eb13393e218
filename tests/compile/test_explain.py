"""The description of a program: instructions, names, memory, the table, the picture.

The program is that of a training step of a small convolutional network, which was recorded and replayed.
"""

import dataclasses
import re

import numpy as np
import pytest
import ranvier as rv
from compile.beside import drawn, names, same, squares
from ranvier import nn
from support.strict import strict
from support.training import training

X = np.random.default_rng(0).normal(size=(16, 1, 12, 12)).astype(np.float32)
Y = np.arange(16) % 4


def compiled(calls=24):
    """A small convolutional network, and its training step after some calls."""
    rv.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(200, 4)
    )
    step = strict(training(model, rv.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)))
    for _ in range(calls):
        step(X, Y)
    return model, step


@pytest.fixture(scope="module")
def program():
    return compiled()[1].programs[0]


def test_instructions_are_numbered_measured_and_placed(program):
    code = program.instructions
    assert [i.number for i in code] == list(range(len(code)))
    assert all(0 < i.ns < 1e9 for i in code if not i.prepared)
    assert [i.op for i in code if i.prepared] == ["fill"]  # the gradient 1 of the loss
    assert all(re.search(r"training\.py:\d+$", i.place) for i in code)
    assert [i.op for i in code][-1] == "optimizer_step"
    assert repr(program) == f"<Program of {len(code)} instructions>"


def test_operands_have_names(program):
    code = program.instructions
    found = {o.name for i in code for o in (*i.reads, *i.writes) if not o.name.startswith("@")}
    expected = {"argument 0", "argument 1", "result 0", "random stream", "settings of SGD"}
    for parameter in ("0.weight", "0.bias", "5.weight", "5.bias"):
        expected |= {parameter, f"{parameter}.grad", f"{parameter}.momentum_buffer"}
    assert expected <= found
    assert "constant" not in found
    weight = next(o for i in code for o in i.reads if o.name == "5.weight")
    assert (weight.role, weight.dtype, np.prod(weight.shape)) == ("persistent", "float32", 800)


def test_temporaries_are_written_before_they_are_read_and_do_not_overlap(program):
    buffers, written = program.buffers, set()
    for i in program.instructions:
        assert all(o.buffer in written for o in i.reads if o.role == "temporary")
        for o in (*i.reads, *i.writes):
            assert buffers[o.buffer].first <= i.number <= buffers[o.buffer].last
        written |= {o.buffer for o in i.writes}
    alive = [b for b in buffers if b.role == "temporary" and b.first >= 0]
    for a in alive:
        assert a.offset + a.bytes <= program.memory.arena
        for b in alive:
            if a is not b and a.first <= b.last and b.first <= a.last:  # in use at once
                assert a.offset + a.bytes <= b.offset or b.offset + b.bytes <= a.offset


def test_memory(program):
    memory = program.memory
    parameters = sum(p.numel() for p in compiled(0)[0].parameters()) * 4
    assert memory.made == parameters + 4  # gradients and the loss
    assert 0 < memory.arena < 40 * X.nbytes
    assert memory.persistent >= 3 * parameters
    used = [b for b in program.buffers if b.role == "persistent" and b.first >= 0]
    assert memory.persistent == sum(b.bytes for b in used)


def test_the_description_cannot_be_changed(program):
    first = program.instructions[-1]
    shown = (program.memory, "arena"), (first, "ns"), (first.reads[0], "name"), (program.buffers[0], "bytes")
    for thing, name in shown:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, name, 0)


def test_the_table(program, capsys):
    program.explain()
    text, code = capsys.readouterr().out, program.instructions
    replayed, fused = sum(not i.prepared for i in code), sum(len(i.fused) for i in code)
    assert text.startswith(f"{replayed} instructions, {fused} more fused into them")
    for part in ("results and gradients", "0.weight 8x1x3x3", "more", "training.py:"):
        assert part in text
    for i in code:
        assert re.search(rf"^ *{i.number}  {i.op} ", text, re.M)
        if not i.prepared:
            time, unit = re.search(rf"^ *{i.number}  {i.op} .* ([\d.]+) (us|ms)", text, re.M).groups()
            assert abs(float(time) * {"us": 1e3, "ms": 1e6}[unit] - i.ns) <= {"us": 6, "ms": 6e3}[unit]
            assert unit == ("ms" if i.ns >= 1e6 else "us")
    assert max(map(len, text.splitlines())) < 180


def test_the_table_of_prepared_instructions():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 49, 40)
    ).eval()
    with rv.no_grad():
        step = same(lambda: model, drawn((12, 3, 9, 9)))
    text, prepared = str(step.programs[0]), names(step, True)
    for part in (
        "prepared, again after a change of what they read:",
        "batch_norm_scale",
        "1.running_mean 8",
        "matmul_pack",
        "4.weight",
        "with batch_norm_forward, activation_forward",
        "prepared from them",
    ):
        assert part in text
    assert [i.prepared for i in step.programs[0].instructions[: len(prepared)]] == [True] * len(prepared)


def test_a_compiled_step_explains_all_its_programs(capsys):
    _, step = compiled()
    for _ in range(3):
        step(X[:5], Y[:5])
    step.explain()
    assert capsys.readouterr().out.count("more fused into them") == 2


def dropping():
    """A step that drops its gradients in the end."""
    model = nn.Linear(6, 2)
    optimizer = rv.optim.SGD(model.parameters(), lr=0.1)

    def step(x):
        model(x).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step, model


def of_two():
    """A step of two models."""
    a, b = nn.Linear(6, 3), nn.Linear(3, 1)
    return (
        training(lambda x: b(a(x)), rv.optim.SGD([*a.parameters(), *b.parameters()], lr=0.1), squares),
        a,
        b,
    )


class Line(nn.Module):
    """Parameters in one memory."""

    def __init__(self):
        super().__init__()
        memory = np.arange(18, dtype=np.float32)
        for i, name in enumerate(("slope", "shift", "scale")):
            setattr(self, name, nn.Parameter(rv.from_numpy(memory[6 * i : 6 * i + 6])))

    def forward(self, x):
        return (x * self.slope + self.shift) * self.scale


NAMED = {  # names among what is read
    "a step that drops its gradients": (dropping, ["weight", "bias"]),
    "two models": (of_two, ["Linear(0).weight", "Linear(1).weight", "Linear(1).weight.grad"]),
    "parameters in one memory": (lambda: Line().eval(), ["slope", "shift", "scale"]),
}


@pytest.mark.parametrize("name", NAMED)
def test_names(name):
    make, expected = NAMED[name]
    with rv.set_grad_enabled(name != "parameters in one memory"):
        step = same(make, drawn((4, 6)))
    assert set(expected) <= {o.name for i in step.programs[0].instructions for o in i.reads}
    assert str(step.programs[0])


def test_the_picture(program, tmp_path):
    above, below = rv.plot.program(program, tmp_path / "program.png")
    assert (tmp_path / "program.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(above.patches) == len(program.instructions)
    temporaries = [b for b in program.buffers if b.role == "temporary" and b.first >= 0]
    assert len(below.patches) == len(temporaries)
    total = sum(i.ns for i in program.instructions if not i.prepared)
    assert below.get_xlim() == pytest.approx((0, total / {"ms": 1e6, "µs": 1e3}[below.get_xlabel()]))
    assert "optimizer_step" in [text.get_text() for text in above.texts]


def test_a_program_that_was_not_replayed_has_no_times_and_bars_of_one_length():
    program = compiled(calls=1)[1].programs[0]
    assert all(np.isnan(i.ns) for i in program.instructions)
    above = rv.plot.program(program)[0]
    assert {bar.get_width() for bar in above.patches} == {1.0}
    assert "not timed" in above.get_title()
    assert "%" not in str(program)


def test_the_picture_of_something_else_is_refused():
    with pytest.raises(TypeError, match=r"\[plot.program\] got CompiledFunction; expected one of the pro"):
        rv.plot.program(strict(lambda x: x * 2))


def test_times_are_unknown_before_the_first_replays():
    fast = strict(nn.Linear(3, 2).eval())
    for calls, unknown in ((2, True), (20, False)):  # recorded and checked, then replayed
        for _ in range(calls):
            fast(np.ones((4, 3), np.float32))
        assert ("?" in str(fast.programs[0])) == unknown
