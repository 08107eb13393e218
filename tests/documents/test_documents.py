"""Documents: files and links that they name, and pages with programs, which run.

The texts are compared with the files of the repository, the names of the package, and what programs write.
"""

from __future__ import annotations

import hashlib
import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import ranvier as rv
from support.bfloat16 import REAL, TILES
from support.grouped import grouped
from support.python import ended, printed

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/design/*.md")])
SOURCES = ("benchmarks", "cmake", "cpp", "docs", "examples", "packaging", "python", "tests")
LINKED = re.compile(r"\]\((?!https?:|#)([^)#]+)")
MADE_UP = re.compile(r"\bx\.|_x\.|NN_name|net\.py|_core\.pyi")  # of a user, of an op called x, of the build


def missing_files(text: str) -> list[str]:
    """Names such as `threads.h` or `ops/matmul.py` that are the end of no file's path."""
    named = set(re.findall(r"`([\w/.]+\.(?:py|pyi|cpp|h|cmake|json|toml))(?::[^`]*)?`", text))
    paths = list(ROOT.iterdir())
    for folder in SOURCES:
        paths += (ROOT / folder).rglob("*")
    ends = [f"/{path.relative_to(ROOT)}" for path in paths]
    missing = []
    for name in sorted(named):
        exists = any(end.endswith(f"/{name}") for end in ends)
        if not exists and not MADE_UP.search(name):
            missing.append(name)
    return missing


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def missing_targets(document: Path, text: str) -> list[str]:
    """Relative links to files that do not exist."""
    return [target for target in LINKED.findall(text) if not (document.parent / target).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=page_id)
def test_names_files_that_exist(document: Path) -> None:
    text = document.read_text()
    assert missing_files(text) == []
    assert missing_targets(document, text) == []


@pytest.mark.parametrize("folder", ["python/ranvier", "cpp"])
def test_the_architecture_names_every_folder(folder: str) -> None:
    heads = re.findall(r"^\| (`.*?) \|", (ROOT / "ARCHITECTURE.md").read_text(), re.M)
    named = set(re.findall(r"`([\w/]+)`", "\n".join(heads)))
    there = {path.name for path in (ROOT / folder).iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert there <= named


@pytest.mark.parametrize("page", ["README.md", "docs/tasks.md"])
def test_a_figure_stands_on_the_page_that_its_row_links(page: str) -> None:
    for line in re.findall(r"^\|.*\|$", (ROOT / page).read_text(), re.M):
        cell = line.split("|")[-2]
        linked = [((ROOT / page).parent / target).read_text() for target in LINKED.findall(cell)]
        if not linked:
            continue
        for figure in re.findall(r"\d+\.\d+|\d+,\d+", cell):
            assert any(figure in text for text in linked), f"{figure} of {line}"


@pytest.mark.parametrize("page", DOCUMENTS, ids=page_id)
def test_a_page_that_names_a_processor_links_the_list_of_machines(page: Path) -> None:
    text = page.read_text()
    named = re.search(r"\b(Xeon|EPYC|Zen [45]|Rapids)\b", text)
    assert not named or "design" in page.parts or "machines.md" in text + page.name


def test_finds_what_is_missing() -> None:
    assert missing_files("see `base/no_such_file.h` and `base/parallel.h`") == ["base/no_such_file.h"]
    assert missing_targets(ROOT / "README.md", "[a](docs/none.md) [b](docs/topics.md)") == ["docs/none.md"]


# Pages of docs with programs: their Python blocks run, one after the other.


DOCS = Path(__file__).parents[2] / "docs"
PAGES = [
    *("five_minutes", "reproducibility", "threads", "memory", "deployment", "from_pytorch", "from_keras"),
    *("captured_step", "generation", "quantized", "transforms", "single_samples"),
]


@pytest.mark.parametrize("page", PAGES)
def test_the_programs_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = rv.get_num_threads()
    names = {"__name__": page}
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / f"{page}.md").read_text(), re.S | re.M)
    assert blocks
    try:
        for number, block in enumerate(blocks):
            file = tmp_path / f"block_{number}.py"
            file.write_text(block)
            exec(compile(block, str(file), "exec"), names)
    finally:
        rv.set_num_threads(threads)


# README.md; docs/reproducibility.md has the sums of what its command writes.


README = ROOT / "README.md"
SUMS = DOCS / "reproducibility.md"


TRAINS = "pip install '.[plot]' && ranvier train digits"
TESTS = "pip install '.[test]' && pytest"


def test_the_readme_has_a_command_that_trains_and_one_that_tests():
    commands = re.findall(r"```\n(.*?)\n```", README.read_text(), re.S)
    assert TRAINS in commands
    assert TESTS in commands


@pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="a source distribution has no .ci")
def test_ci_runs_the_command_of_the_readme():
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert f'bash -c "$(grep -Fx "{TESTS}" README.md)"' in lines


def test_the_code_of_the_readme_runs(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text("\n".join(re.findall(r"```python\n(.*?)```", README.read_text(), re.S)))
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(program))
    assert (tmp_path / "digits.safetensors").exists()
    assert (names["labels"] == names["y"][1500:]).mean() > 0.8  # chance: 0.1
    assert names["loss"].item() < 1.0


def test_the_command_of_the_readme_and_its_sum(tmp_path):
    result = ended("-m", "ranvier", "train", "digits", "--out", tmp_path, "--json", tmp_path / "r")
    assert result.returncode == 0, result.stderr
    written = json.loads((tmp_path / "r").read_text())
    epochs = written["configuration"]["epochs"]
    assert written["test_accuracy"] >= 0.98
    assert all(len(values) == epochs for values in written["history"].values())
    assert sum(line.startswith("epoch") for line in result.stdout.splitlines()) == epochs
    assert result.stderr == ""  # no progress bar without a terminal
    assert (tmp_path / "digits.png").exists() == (written["picture"] is not None)
    level = rv.config.config()["isa"]
    listed = dict(re.findall(r"^\| (\S+) \| `([0-9a-f]{64})` \|$", SUMS.read_text(), re.M))
    if level not in listed:
        pytest.skip(f"{SUMS.name} lists no sum for {level}")
    assert hashlib.sha256((tmp_path / "digits.safetensors").read_bytes()).hexdigest() == listed[level]


@pytest.mark.parametrize("kind", sorted({*REAL, *TILES}))
def test_the_sum_with_products_of_bfloat16(tmp_path, kind):
    page = SUMS.read_text()
    (code,) = re.findall(r'^python -c "(.*medium.*)"$', page, re.M)
    code = code.replace("'digits'", f"'digits', '--out', {str(tmp_path)!r}")
    printed("-c", code, RANVIER_BFLOAT16=kind)
    name = "AVX512_BF16" if kind == "pairs" else "AMX"
    row = rf"^\| x86-64-v4, products of bfloat16 .*{name} \| `([0-9a-f]{{64}})` \|$"
    (listed,) = re.findall(row, page, re.M)
    assert hashlib.sha256((tmp_path / "digits.safetensors").read_bytes()).hexdigest() == listed


# docs/topics.md: every function, example and picture that it names is there, and none is left out.


TOPICS = (ROOT / "docs" / "topics.md").read_text()
LINES = [line for line in TOPICS.splitlines() if line.startswith("|")]
LINES = [line for line in LINES if not line.startswith(("| topic", "|---"))]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


ROWS = [cells(line) for line in LINES]
NAMES = sorted(set(re.findall(r"`([^`]+)`", "\n".join(LINES))))
LINKS = sorted(set(re.findall(r"\]\(([^)#]+)\)", TOPICS)))


@grouped("name", NAMES)
def test_what_is_named_is_there(name: str) -> None:
    first, *path = name.split(".")
    assert first == "rv", "names as a program writes them, from `import ranvier as rv`"
    if path[0] == "sklearn":  # to load a name, scikit-learn is needed
        assert path[1] in rv.sklearn.__all__
        return
    found: Any = rv
    for part in path:
        found = getattr(found, part)


def test_a_row_has_a_topic_and_what_serves_it() -> None:
    assert len(ROWS) > 80
    for row in ROWS:
        assert len(row) == 4, row
        topic, code, example, picture = row
        assert topic, row
        assert re.fullmatch(r"(`rv(\.\w+)+` ?)+", code), row
        assert re.fullmatch(r"(\[(\d\d)\]\(\.\./examples/\2_\w+\.py\) ?)*", example), row
        assert re.fullmatch(r"(`rv\.plot\.\w+` ?)*", picture), row


def test_no_topic_comes_twice() -> None:
    topics = [row[0] for row in ROWS]
    assert sorted(set(topics)) == sorted(topics)


def test_pictures_are_small_and_each_is_of_an_example_and_shown() -> None:
    pictures = sorted((ROOT / "docs" / "pictures").iterdir())
    assert sum(path.stat().st_size for path in pictures) <= 500_000
    examples = [path.stem for path in (ROOT / "examples").glob("[0-9][0-9]_*.py")]
    for path in pictures:
        assert path.stat().st_size <= 60_000
        assert any(path.stem.startswith(name) for name in examples)
        assert f"pictures/{path.name}" in LINKS


def test_every_example_and_every_picture_serves_a_topic() -> None:
    examples = {path.name for path in (ROOT / "examples").glob("[0-9][0-9]_*.py")}
    assert sorted(examples - {Path(link).name for link in LINKS}) == []
    pictures = {f"rv.plot.{name}" for name in rv.plot.__all__ if name != "require_matplotlib"}
    assert sorted(pictures - set(NAMES)) == []


# docs/unchanged.md: the jobs of its libraries run in .ci/run, with the packages of their requirements.


LIBRARIES = ROOT / "tests" / "libraries"
PACKAGES = {  # job -> the package on the index, where its name is another
    "backpack": "backpack-for-pytorch",
    "hummingbird": "hummingbird-ml",
    "ignite": "pytorch-ignite",
    "language_models": "gguf",
    "open_clip": "open-clip-torch",
    "pyro": "pyro-ppl",
    "pytorch_grad_cam": "grad-cam",
    "torchcrf": "pytorch-crf",
    "torchmin": "pytorch-minimize",
    "whisper": "openai-whisper",
}
SHOWN = {  # job -> its name on the page, where that is another
    "language_models": "transformers",
    "pytorch_grad_cam": "grad-cam",
    "torchmin": "pytorch-minimize",
    "torchcrf": "pytorch-crf",
    "whisper": "openai-whisper",
    "ignite": "PyTorch-Ignite",
}


def normalized(name: str) -> str:
    """A name as package indexes compare it: in small letters, with - for other signs."""
    return re.sub(r"[-_. ]+", "-", name).lower()


def library_jobs() -> list[str]:
    """The names of the functions without arguments in the files of the jobs."""
    sources = [path.read_text() for path in sorted((LIBRARIES / "jobs").glob("*.py"))]
    return re.findall(r"^def ([a-z]\w*)\(\):", "\n".join(sources), re.M)


def test_every_job_of_a_library_runs_in_ci() -> None:
    """Its package is installed there, and a job without one fails (test_libraries.py)."""
    lines = (LIBRARIES / "requirements.txt").read_text().splitlines()
    packages = {normalized(line.partition("==")[0]) for line in lines if line[:1] != "#"}
    missing = [job for job in library_jobs() if normalized(PACKAGES.get(job, job)) not in packages]
    assert missing == []
    commands = (ROOT / ".ci" / "run").read_text()
    assert "pip install --no-deps -r tests/libraries/requirements.txt" in commands
    assert re.search(r"RANVIER_ALL_LIBRARIES=1 pytest .* tests/libraries\n", commands)


def test_every_job_of_a_library_stands_on_the_page() -> None:
    page = (DOCS / "unchanged.md").read_text()
    table = page[page.index("| library | job |") : page.index("One thread. The geometric mean")]
    shown = normalized(" ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|")))
    assert [job for job in library_jobs() if normalized(SHOWN.get(job, job)) not in shown] == []
