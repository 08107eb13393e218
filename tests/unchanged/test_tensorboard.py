"""utils.tensorboard: what the event files hold."""

import io

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.torch.event_files import settings
from ranvier.utils.tensorboard import SummaryWriter
from support.event_files import fields, read
from support.refused import refused


def test_scalars_texts_and_histograms(tmp_path):
    with SummaryWriter(tmp_path, purge_step=3) as writer:
        writer.add_scalar("loss", rv.tensor([1.5], requires_grad=True), 7)
        writer.add_scalar("loss", np.float64(0.25))
        writer.add_scalars("both/x", {"a": rv.tensor(1.0), "b": 2}, 300)
        writer.add_text("t", "héllo", 2)
        writer.add_histogram("h", rv.tensor([-1.0, 0.5, 0.5, 3.0]), 1)
        refused(NotImplementedError, "got a list; expected a number", writer.add_scalar, "loss", [1, 2])
        refused(ValueError, "got no values", writer.add_histogram, "h", [])
        refused(AttributeError, "has no add_video", getattr, writer, "add_video")
    refused(NotImplementedError, "[tensorboard] add_graph", writer.add_graph, nn.Linear(1, 1))
    values = read(tmp_path)
    assert [(step, tag, v[2]) for step, tag, v in values[:2]] == [(7, "loss", [1.5]), (None, "loss", [0.25])]
    assert read(tmp_path / "both_x_b")[0][2][2] == [2.0]
    assert read(tmp_path / "both_x_a")[0][0] == 300
    _, tag, text = values[2]
    assert (tag, fields(text[8][0])[8]) == ("t/text_summary", ["héllo".encode()])
    assert fields(fields(text[9][0])[1][0])[1] == [b"text"]
    histogram = fields(values[3][2][5][0])
    assert [histogram[i] for i in (1, 2, 3, 4, 5)] == [[-1.0], [3.0], [4.0], [3.0], [10.5]]
    limits, counts = (np.frombuffer(histogram[i][0], "<f8") for i in (6, 7))
    assert (counts.sum(), len(counts)) == (4, len(limits))
    assert counts[(limits > 0.5) & (limits <= 0.56)].sum() == 2


def test_images(tmp_path):
    image = pytest.importorskip("matplotlib.image", reason="matplotlib is not installed")
    figure = pytest.importorskip("matplotlib.figure").Figure((1, 2), dpi=50)
    pixels = rv.rand(3, 4, 5)
    with SummaryWriter(tmp_path) as writer:
        writer.add_image("i", pixels)
        writer.add_image("grey", np.arange(6, dtype=np.uint8).reshape(2, 3), dataformats="HW")
        writer.add_images("several", np.zeros((9, 2, 2, 1)), dataformats="NHWC")
        writer.add_figure("f", figure)
        refused(ValueError, "got shape (3, 4, 5) as HW", writer.add_image, "i", pixels, dataformats="HW")
    found = {tag: fields(value[4][0]) for _, tag, value in read(tmp_path)}
    shown = {tag: image.imread(io.BytesIO(value[4][0])) for tag, value in found.items()}
    np.testing.assert_allclose(shown["i"], np.floor(pixels.numpy().transpose(1, 2, 0) * 255) / 255, atol=1e-6)
    np.testing.assert_allclose(shown["grey"] * 255, np.arange(6).reshape(2, 3), atol=1e-4)
    assert [found["several"][i] for i in (1, 2, 3)] == [[4], [16], [1]]
    assert [found["f"][i] for i in (1, 2, 3)] == [[100], [50], [4]]


def test_settings_of_runs(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_hparams({"lr": 0.5, "name": "a", "bias": True}, {"score": rv.tensor(2.0)}, run_name="r")
        refused(ValueError, "[add_hparams] got x [1]", writer.add_hparams, {"x": [1]}, {})
    *plugin, (_, tag, score) = read(tmp_path / "r")
    assert (tag, score[2]) == ("score", [2.0])
    assert [tag for _, tag, _ in plugin] == [
        f"_hparams_/{part}" for part in ("experiment", "session_start_info", "session_end_info")
    ]
    start = fields(fields(fields(plugin[1][2][9][0])[1][0])[2][0])[3][0]
    kept = {(f := fields(entry))[1][0].decode(): fields(f[2][0]) for entry in fields(start)[1]}
    assert kept == {"lr": {2: [0.5]}, "name": {3: [b"a"]}, "bias": {4: [1]}}
    named = settings(hparam_dict={"lr": 0.5}, metric_dict={"score": 2.0}, hparam_domain_discrete=None)
    assert b"_hparams_/experiment" in named[0]  # the keywords of torch.utils.tensorboard.summary.hparams
