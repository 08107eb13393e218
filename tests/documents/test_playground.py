"""docs/playground: its texts, its WebAssembly and its programs against the exporter and against Python.

The scripts of the page run in Node without the page; tests that need it skip where it is not installed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from support.imported import imported
from support.python import printed

FOLDER = Path(__file__).parents[2] / "docs" / "playground"
SCRIPTS = ("kernels", "plan", "machine", "text", "data", "watch", "draw", "diagram", "page")
POINTS = {"data": "circle", "features": ["x1", "x2"], "noise": 0.5}
DIGITS = {"data": "digits"}


def form(data, sizes, activation, loss, optimizer, **penalties):
    """The choices that a page shows."""
    choices = {"sizes": sizes, "activation": activation, "loss": loss, "optimizer": optimizer}
    return {**data, **choices, **penalties}


FORMS = {
    "xor": form(POINTS, [2, 4, 2, 1], "Tanh", "bce", "SGD"),
    "line": form(POINTS, [2, 1], "Linear", "mse", "momentum"),
    "l2": form(POINTS, [2, 8, 1], "ReLU", "bce", "Adam", l2=0.001),
    "l1": form(POINTS, [2, 6, 5, 1], "SiLU", "mse", "SGD", l1=0.003),
    "l1 line": form(POINTS, [2, 1], "Linear", "bce", "SGD", l1=0.1),
    "l1 of one weight": form(POINTS, [2, 3, 1, 1], "GELU", "mse", "momentum", l1=0.0001),
    "deep": form(POINTS, [2, 8, 7, 6, 5, 4, 3, 1], "GELU", "bce", "Adam"),
    "digits": form(DIGITS, [64, 16, 10], "Sigmoid", "ce", "momentum"),
    "l1 digits": form(DIGITS, [64, 3, 10], "ReLU", "ce", "Adam", l1=0.00001),
}
DEFAULTS = {"rate": 0.03, "l1": 0.0, "l2": 0.0, "batch": 10}
# Makes the network of a form and does some steps of the batches that Python gives: texts and losses.
RUN = r"""
jobs.map(({ form, batches }) => {
  const network = new Network(machine, form, generator(7)), { program } = network;
  const weights = program.layers.flatMap((l) => [l.weight, l.bias]);
  const values = weights.map((b) => Array.from(machine.view(b)));
  const lines = programLines(form, values).lines.map((line) => `${line}\n`);
  const texts = [lines.join(""), cText(program, values), headerText(program)];
  const losses = batches.map(([x, y]) => network.step(x, y));
  const end = weights.map((b) => Array.from(machine.view(b)));
  const [x, y] = batches[0], all = network.evaluator(x, form.batch, y)();
  return { texts, losses, end, loss: all.loss, output: Array.from(all.output) };
})"""
# Trains as the page does: the points on the wrong side after each ten epochs, and the page's hint.
TRAIN = """
jobs.map(({ form, epochs }) => {
  const set = makePoints(form.data, form.features, 0, 1), n = form.features.length;
  const { train } = split(set, n, 0.5, 1), random = generator(3);
  const network = new Network(machine, form, generator(1));
  const measure = network.evaluator(train.x, train.rows, train.y);
  const wrong = [], watch = new Watch(form, train.y);
  for (let epoch = 1; epoch <= epochs; epoch++) {
    const order = shuffled(train.rows, random);
    for (let k = 0; k + 10 <= order.length; k += 10) {
      const rows = order.slice(k, k + 10);
      const x = rows.flatMap((row) => Array.from(train.x.subarray(row * n, row * n + n)));
      network.step(x, rows.map((row) => train.y[row]));
    }
    const { output, loss, layers } = measure();
    watch.see(loss, layers, epoch);
    if (epoch % 10 === 0) wrong.push(output.filter((v, i) => Number(v > 0) !== train.y[i]).length);
  }
  return [wrong, watch.hint];
})"""


def in_node(code: str, jobs: Any) -> Any:
    """The value of an expression of the page's scripts, without the page."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed: the scripts of the playground do not run")
    text = "".join((FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    text = text.removesuffix("begin();\n")
    text += f"const jobs = {json.dumps(jobs)};\n"
    text += """const bytes = Uint8Array.from(atob(KERNELS.wasm), (c) => c.charCodeAt(0));
machine = new Machine(new WebAssembly.Module(bytes));
"""
    text += f"console.log(JSON.stringify({code.strip()}));\n"
    result = subprocess.run([node, "-"], input=text, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def batch(form: dict[str, Any], rng: np.random.Generator) -> list[list[float]]:
    """Random inputs and targets of a form, as JSON takes them."""
    n = form["batch"]
    x = rng.normal(size=n * form["sizes"][0]).astype(np.float32)
    targets = {"ce": rng.integers(0, 10, n), "bce": rng.integers(0, 2, n)}
    return [x.tolist(), targets.get(form["loss"], rng.normal(size=n).astype(np.float32)).tolist()]


@pytest.fixture(scope="module")
def runs() -> dict[str, Any]:
    """The results of the page for each form: texts, losses, weights at the end."""
    rng = np.random.default_rng(3)
    jobs = []
    for settings in FORMS.values():
        form: dict[str, Any] = {**DEFAULTS, **settings}
        jobs.append({"form": form, "batches": [batch(form, rng) for _ in range(50)]})
    return {name: {**job, **run} for name, job, run in zip(FORMS, jobs, in_node(RUN, jobs), strict=True)}


def loaded(text: str, folder: Path) -> Any:
    """The program as a module, without its data and its training."""
    path = folder / "program.py"
    path.write_text(text[: text.index("\n\n\n", text.index("def step"))] + "\n")
    return imported(path)


def tensors(form: dict[str, Any], pair: Any) -> tuple[rv.Tensor, rv.Tensor]:
    dtype, shape = (np.int64, -1) if form["loss"] == "ce" else (np.float32, (-1, 1))
    x = np.array(pair[0], np.float32).reshape(-1, form["sizes"][0])
    return rv.tensor(x), rv.tensor(np.array(pair[1], dtype).reshape(shape))


def test_the_helpers_are_those_of_the_exporter() -> None:
    build = imported(FOLDER / "build.py")
    text = (FOLDER / "kernels.js").read_text(encoding="utf-8")
    content = json.loads(text[text.index("{") : text.rindex(";")])
    assert content["helpers"] == build.helpers(), "run docs/playground/build.py"
    assert content["digits"] == build.digits()


@pytest.mark.parametrize("name", FORMS)
def test_a_network_is_the_programs(name: str, runs: dict[str, Any], tmp_path: Path) -> None:
    """The C text is the exporter's, and the losses and weights of 50 steps are those of Python's step."""
    run = runs[name]
    form, (program, source, header) = run["form"], run["texts"]
    module = loaded(program, tmp_path)
    example = tensors(form, run["batches"][0])
    rv.export.c(module.step, tmp_path / "net.c", example, predict=(module.model, example[0][:1]))
    assert source == (tmp_path / "net.c").read_text()
    assert header == (tmp_path / "net.h").read_text()
    losses = [module.step(*tensors(form, pair)).item() for pair in run["batches"]]
    np.testing.assert_allclose(run["losses"], losses, rtol=1e-5, atol=1e-6)
    for ours, p in zip(run["end"], module.model.parameters(), strict=True):
        np.testing.assert_allclose(ours, p.detach().numpy().ravel(), rtol=1e-4, atol=2e-5)
    output = module.model(example[0]).detach().numpy()
    np.testing.assert_allclose(run["output"], output.ravel(), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", ["xor", "digits"])
def test_the_program_runs(name: str, runs: dict[str, Any], tmp_path: Path) -> None:
    """As a user runs it: it trains on its data and writes net.c."""
    path = tmp_path / "program.py"
    path.write_text(runs[name]["texts"][0].replace("range(100)", "range(2)"))
    assert "epoch 2: loss" in printed(path, folder=tmp_path)
    assert (tmp_path / "net.c").exists()


def test_xor_and_the_spiral_are_learned() -> None:
    """With the page's first settings, and with two more inputs for the spiral: all points are right."""
    form = {**DEFAULTS, **FORMS["xor"], "optimizer": "Adam"}
    spiral = {"data": "spiral", "features": ["x1", "x2", "sin1", "sin2"], "sizes": [4, 8, 8, 1]}
    jobs = [
        {"form": {**form, "data": "xor", "sizes": [2, 6, 3, 1]}, "epochs": 100},
        {"form": {**form, **spiral}, "epochs": 200},
    ]
    for wrong, hint in in_node(TRAIN, jobs):
        assert 0 in wrong
        assert not hint


SLOW = {"sizes": [2, 6, 3, 1], "activation": "Sigmoid", "rate": 0.001}
HINTS = [  # settings, epochs -> how the page's hint begins
    ({"data": "spiral", "sizes": [2, 8, 8, 8, 1]}, 1500, "The loss has risen again"),
    ({"data": "spiral", "sizes": [2, 8, 8, 8, 1], "rate": 0.3}, 100, "The training has collapsed: "),
    ({"data": "spiral", "sizes": [2, 8, 8, 8, 1], "rate": 0.003}, 400, ""),
    (
        {"data": "circle", "sizes": [2, 8, 8, 1], "activation": "ReLU", "rate": 1},
        100,
        "The training has coll",
    ),
    (
        {"data": "bumps", "sizes": [2, 6, 3, 1], "loss": "mse", "rate": 0.3},
        150,
        "The training has collapsed: ",
    ),
    ({"data": "bumps", "sizes": [2, 6, 3, 1], "loss": "mse"}, 150, ""),
    ({"data": "xor", "sizes": [2, 1], "activation": "Linear"}, 250, "The loss is still that of guessing"),
    ({"data": "circle", **SLOW, "optimizer": "SGD"}, 250, "The loss is still that of guessing"),
    ({"data": "circle", **SLOW, "optimizer": "SGD"}, 150, ""),
]


def test_a_training_that_does_not_learn_gets_a_hint() -> None:
    jobs = []
    for settings, epochs, _ in HINTS:
        jobs.append({"form": {**DEFAULTS, **FORMS["xor"], "optimizer": "Adam", **settings}, "epochs": epochs})
    for (_, hint), (settings, _, expected) in zip(in_node(TRAIN, jobs), HINTS, strict=True):
        assert hint.startswith(expected), settings
        assert bool(hint) == bool(expected), settings


def test_choices_of_numbers_are_in_order() -> None:
    for name in ("rate", "strength"):
        numbers = in_node(f"CHOICES.{name}.map(([value]) => Number(value))", None)
        assert numbers == sorted(numbers)
        assert len(numbers) > 5


def test_the_status_has_a_sentence_for_each_state() -> None:
    """Not for each frame, since screen readers say it."""
    code = r"""(() => {
  const said = [], line = {
    get textContent() { return said[said.length - 1]; },
    set textContent(text) { said.push(text); },
  };
  globalThis.document = { getElementById: () => line };
  const show = (changes) => {
    Object.assign(state, changes);
    for (let frame = 0; frame < 50; frame++) {
      if (state.running) Object.assign(state, { epoch: frame, scores: `loss ${frame}` });
      say();
    }
  };
  show({ isFinite: true, watch: { hint: "" } });
  show({ running: true, steps: 9 });
  show({ watch: { hint: "Take less." } });
  show({ running: false });
  show({ isFinite: false });
  return said;
})()"""
    said = [
        "New weights, not trained yet.",
        "It trains.",
        "Take less.",
        "Stopped at epoch 49: loss 49. Take less.",
    ]
    fault = "The loss is not a number any more: take a lower learning rate and new weights."
    assert in_node(code, None) == [*said, fault]


CSV = 'length;"kind; of it"\r\n1;"b; 1"\r\n2;#a\r\n 3; #a \r\n4;"b; 1"\r\n7;#a\r\n'


def test_the_program_of_a_table_reads_it_as_the_page_does(tmp_path: Path) -> None:
    """Delimiter, header, quotes and blanks; without a header, the first row is data."""
    code = r"""jobs.map((text) => {
  const { loss, delimiter, skipped, inputs, y } = makeTable(text);
  const lines = dataLines({ data: "table", loss, delimiter, skipped });
  return [Array.from(inputs), Array.from(y), lines.join("\n")];
})"""
    tables = [CSV, "1,2.5\n2,3.5\n3,4.5\n4,5.5"]
    for text, (x, y, program) in zip(tables, in_node(code, tables), strict=True):
        path = tmp_path / "table.csv"
        path.write_bytes(text.encode())
        names: dict[str, Any] = {"np": np}
        exec(program.replace('"table.csv"', repr(str(path))), names)
        np.testing.assert_allclose(names["x"].ravel(), x, rtol=1e-6)
        np.testing.assert_allclose(names["y"].ravel(), y, rtol=1e-6)


def test_every_set_has_rows_for_training_and_for_the_test() -> None:
    code = r"""jobs.map((share) => {
  const { train, test } = split(makeTable("1,2.5\n2,3.5\n3,4.5\n4,5.5"), 1, share, 1);
  return [train.rows, test.rows];
})"""
    assert in_node(code, [0.1, 0.5, 0.9]) == [[1, 3], [2, 2], [3, 1]]


def test_numbers_are_written_as_numpy_writes_them() -> None:
    """Below 1e6, from where on versions of NumPy differ; also those of a training that diverged."""
    rng = np.random.default_rng(5)
    values = rng.normal(size=3000).astype(np.float32) * np.float32(10.0) ** rng.integers(-37, 5, 3000)
    texts = in_node("jobs.map(shortest)", values.astype(np.float64).tolist())
    assert texts == [str(np.float32(v)) for v in values]
    code = "jobs.map((v) => [literal(v / 0), pythonFloat(v / 0)])"
    expected = [["NAN", 'float("nan")'], ["INFINITY", 'float("inf")'], ["-INFINITY", 'float("-inf")']]
    assert in_node(code, [0, 1, -1]) == expected


TABLES = {  # text: loss, classes and columns, or the fault
    "a,b,kind\n1,2,x\n3,4,y\n5,6,x\n7,9,y": ["ce", 2, 2],
    "1;2;3.5\n2;3;4.25\n3;4;1\n4;6;0": ["mse", 1, 2],
    '"1","2"\r\n"3","4"\r\n5,"6.5"\r\n7,8\r\n': ["mse", 1, 1],
    "a,b\n1,2": "expected at least 4 rows of numbers and a last column to predict",
    "1,2,3\n1,2\n3,4,5\n6,7,8": "row 2 has 2 columns; expected 3",
    "1,2,a\n1,q,b\n3,4,a\n5,6,b": 'row 2, column 2 is "q"; expected a number',
    "1,2.5\n2,\n3,4.5\n4,5.5": "row 2 has nothing in its last column; expected what is predicted",
    "1,5;2\n1,5;3\n2,5;4\n3,5;5\n4,5;6": 'row 1, column 1 is "1,5"; expected a number',
    "": "expected at least 4 rows of numbers and a last column to predict",
    "1,2,a\n1,2,a\n3,4,a\n5,6,a": "the last column has one value only; expected several",
}


def test_a_table_is_read_or_refused() -> None:
    code = """jobs.map((text) => {
  try {
    const { loss, classes, columns } = makeTable(text);
    return [loss, classes, columns];
  } catch (error) {
    return error.message;
  }
})"""
    assert in_node(code, list(TABLES)) == list(TABLES.values())
