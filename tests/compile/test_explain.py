"""The description of a program: instructions, names, memory, the table and the picture."""

import dataclasses
import re

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn import functional as F
from support.strict import strict

X = np.random.default_rng(0).normal(size=(16, 1, 12, 12)).astype(np.float32)
Y = np.arange(16) % 4


def compiled(calls=24):
    rv.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(200, 4)
    )
    optimizer = rv.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    @strict
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

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
    assert all(re.search(r"test_explain\.py:\d+$", i.place) for i in code)
    assert [i.op for i in code][-1] == "optimizer_step"
    assert repr(program) == f"<Program of {len(code)} instructions>"


def test_operands_have_names(program):
    code = program.instructions
    names = {o.name for i in code for o in (*i.reads, *i.writes) if not o.name.startswith("@")}
    expected = {"argument 0", "argument 1", "result 0", "random stream", "settings of SGD"}
    for parameter in ("0.weight", "0.bias", "5.weight", "5.bias"):
        expected |= {parameter, f"{parameter}.grad", f"{parameter}.momentum_buffer"}
    assert expected <= names
    assert "constant" not in names
    weight = next(o for i in code for o in i.reads if o.name == "5.weight")
    assert (weight.role, weight.dtype) == ("persistent", "float32")
    assert np.prod(weight.shape) == 800


def test_operands_are_written_before_they_are_read(program):
    """A temporary is read only after the instruction that makes it, within its life."""
    buffers, written = program.buffers, set()
    for i in program.instructions:
        for o in i.reads:
            if o.role == "temporary":
                assert o.buffer in written
        for o in (*i.reads, *i.writes):
            assert buffers[o.buffer].first <= i.number <= buffers[o.buffer].last
        written |= {o.buffer for o in i.writes}


def test_temporaries_in_use_at_once_do_not_overlap(program):
    alive = [b for b in program.buffers if b.role == "temporary" and b.first >= 0]
    for a in alive:
        assert a.offset + a.bytes <= program.memory.arena
        for b in alive:
            together = a.first <= b.last and b.first <= a.last
            if a is not b and together:
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
    text = capsys.readouterr().out
    code = program.instructions
    replayed, fused = sum(not i.prepared for i in code), sum(len(i.fused) for i in code)
    assert text.startswith(f"{replayed} instructions, {fused} more fused into them")
    assert "results and gradients" in text
    assert re.search(r"test_explain\.py:\d+:", text)
    for i in code:
        assert re.search(rf"^ *{i.number}  {i.op} ", text, re.M)
        if i.prepared:
            continue
        time, unit = re.search(rf"^ *{i.number}  {i.op} .* ([\d.]+) (us|ms)", text, re.M).groups()
        assert abs(float(time) * {"us": 1e3, "ms": 1e6}[unit] - i.ns) <= {"us": 6, "ms": 6e3}[unit]
        assert unit == ("ms" if i.ns >= 1e6 else "us")
    assert "0.weight 8x1x3x3" in text
    assert "more" in text
    assert max(map(len, text.splitlines())) < 180


def test_the_table_of_a_step_that_drops_its_gradients():
    model = nn.Linear(4, 2)
    optimizer = rv.optim.SGD(model.parameters(), lr=0.1)

    @strict
    def step(x):
        model(x).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(3):
        step(X[:, 0, 0, :4])
    assert "optimizer_step" in str(step.programs[0])


def test_a_compiled_step_explains_all_its_programs(capsys):
    _, step = compiled()
    for _ in range(3):
        step(X[:5], Y[:5])
    step.explain()
    assert capsys.readouterr().out.count("more fused into them") == 2


def test_models_of_one_step_have_different_names():
    a, b = nn.Linear(3, 3), nn.Linear(3, 1)
    optimizer = rv.optim.SGD([*a.parameters(), *b.parameters()], lr=0.1)

    @strict
    def step(x):
        optimizer.zero_grad()
        loss = b(a(x)).mean()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(3):
        step(np.ones((4, 3), np.float32))
    names = {o.name for i in step.programs[0].instructions for o in i.reads}
    assert {"Linear(0).weight", "Linear(1).weight", "Linear(1).weight.grad"} <= names


def test_the_picture(program, tmp_path):
    above, below = rv.plot.program(program, tmp_path / "program.png")
    assert (tmp_path / "program.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(above.patches) == len(program.instructions)
    temporaries = [b for b in program.buffers if b.role == "temporary" and b.first >= 0]
    assert len(below.patches) == len(temporaries)
    assert "optimizer_step" in [text.get_text() for text in above.texts]


def test_the_picture_of_something_else_is_refused():
    with pytest.raises(
        TypeError, match=r"\[plot.program\] got CompiledFunction; expected one of the programs"
    ):
        rv.plot.program(strict(lambda x: x * 2))


def test_times_are_unknown_before_the_first_replays():
    fast = strict(nn.Linear(3, 2).eval())
    for _ in range(2):  # recorded and checked
        fast(np.ones((4, 3), np.float32))
    assert "?" in str(fast.programs[0])
    for _ in range(20):
        fast(np.ones((4, 3), np.float32))
    assert "?" not in str(fast.programs[0])


def test_parameters_in_one_memory_have_their_names():
    memory = np.arange(12, dtype=np.float32)

    class Line(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope, self.shift, self.scale = (
                nn.Parameter(rv.from_numpy(memory[4 * i : 4 * i + 4])) for i in range(3)
            )

        def forward(self, x):
            return (x * self.slope + self.shift) * self.scale

    model = Line()
    step = strict(model.eval())
    for _ in range(3):
        step(np.ones(4, np.float32))
    read = [o.name for i in step.programs[0].instructions for o in i.reads if o.role == "persistent"]
    assert read == ["slope", "shift", "scale"]
