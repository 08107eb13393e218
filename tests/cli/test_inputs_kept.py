"""What is read is not written, and data of which no usable model can be made is refused in one line."""

import numpy as np
import pytest
import ranvier as rv

ROWS = "\n".join(f"{i % 7},{i % 5},{'up' if i % 7 > 3 else 'down'}" for i in range(40))


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(f"a,b,kind\n{ROWS}\n")
    return path


def test_an_output_in_the_place_of_an_input(table, tmp_path, refused):
    model, before = tmp_path / "m.safetensors", table.read_bytes()
    rv.save(rv.nn.Linear(2, 2), model, class_names=["up", "down"], feature_names=["a", "b"])
    weights, unlabelled = model.read_bytes(), tmp_path / "new.csv"
    unlabelled.write_text("a,b\n1,2\n")
    link = tmp_path / "link.csv"
    link.symlink_to(table)
    for path in (table, link):
        message = refused("train", table, "--out", tmp_path / "n.safetensors", "--json", path)
        assert message == f"--json is '{path}', which is read; writing it would destroy the input"
    for path in (table, model):
        assert refused("evaluate", model, table, "--json", path).startswith("--json is ")
    for path in (model, unlabelled):
        assert refused("predict", model, unlabelled, "--json", path).startswith("--json is ")
    assert (table.read_bytes(), model.read_bytes()) == (before, weights)
    assert unlabelled.read_text() == "a,b\n1,2\n"


def test_two_columns_of_one_name(table, tmp_path, refused):
    """The model would take no table: it knows columns by their names."""
    table.write_text(f"a,a,kind\n{ROWS}\n")
    message = refused("train", table, "--out", tmp_path / "m.safetensors")
    assert message == f"'{table}' has more than one column 'a'; expected different names"


def test_archives_that_are_no_samples(tmp_path, refused):
    path, model = tmp_path / "a.npz", tmp_path / "m.safetensors"
    rv.save(rv.nn.Linear(3, 2), model, class_names=["0", "1"])
    np.savez(path, x=np.zeros((0, 3)), y=np.zeros(0, int))
    message = f"[load_npz] '{path}' has no samples in 'x'; expected at least one"
    for command in (["train", path], ["evaluate", model, path], ["predict", model, path]):
        assert refused(*command) == message
    np.savez(path, x=np.arange(40.0), y=np.arange(40) % 2)
    message = refused("train", path, "--out", tmp_path / "n.safetensors")
    assert message == (
        f"'{path}' has samples of shape (40,); expected at least 2 dimensions, such as (40, 1) for one "
        "number a sample"
    )


def test_a_model_that_gives_nan(tmp_path, refused):
    model, new = rv.nn.Linear(2, 2), tmp_path / "new.csv"
    with rv.no_grad():
        model.weight[0, 0] = float("nan")
    rv.save(model, tmp_path / "m.safetensors", class_names=["0", "1"])
    new.write_text("a,b\n1,2\n")
    message = refused("predict", tmp_path / "m.safetensors", new)
    assert message == "the model's output for sample 0 is NaN; expected a number"
