"""torch.onnx.export's arguments."""

import inspect
import io

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.torch.fx import exporting
from ranvier.torch.fx.exporting import ONNXProgram, OperatorExportTypes, TrainingMode, export
from support.python import in_mode
from support.refused import refused

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

X = np.ones((2, 3), np.float32)
WITHOUT_EFFECT = [
    {"dynamo": True, "optimize": True, "verify": True, "external_data": False, "artifacts_dir": "."},
    {"dynamo": False, "training": TrainingMode.EVAL, "do_constant_folding": False, "verbose": True},
    {"dynamo": False, "training": TrainingMode.TRAINING, "custom_opsets": {"own": 1}},  # without such layers
    {
        "dynamo": False,
        "operator_export_type": OperatorExportTypes.ONNX_ATEN_FALLBACK,
        "autograd_inlining": False,
    },
    {"opset_version": None, "keep_initializers_as_inputs": False, "export_params": True},
    {"training": TrainingMode.TRAINING, "export_modules_as_functions": True},  # of the other exporter
]
REFUSED = {
    "custom_translation_table": {1: 2},
    "report": True,
    "profile": True,
    "dump_exported_program": True,
    "operator_export_type": OperatorExportTypes.ONNX_ATEN,
    "export_modules_as_functions": True,
    "dynamic_shapes": {"x": {0: "n"}},
    "training": TrainingMode.TRAINING,
}


@pytest.mark.parametrize("settings", WITHOUT_EFFECT)
def test_without_effect(settings):
    file = io.BytesIO()
    found = export(nn.Linear(3, 2), (X,), file, input_names=["x"], **settings)
    assert isinstance(found, ONNXProgram) == settings.get("dynamo", True)
    assert [n.op_type for n in onnx.load_from_string(file.getvalue()).graph.node] == ["Gemm"]


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    dynamo = name in list(REFUSED)[:4]
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
    refused(ValueError, f"got {name}", export, model, X, dynamo=dynamo, **{name: REFUSED[name]})


def two(x, y, scale=1.0):
    return x * scale + y


@pytest.mark.parametrize(
    ("args", "settings"),
    [
        ((X,), {"kwargs": {"y": X, "scale": 2.0}}),
        ((X, {"y": X, "scale": 2.0}), {}),
        ((), {"kwargs": {"scale": 2.0, "y": X, "x": X}}),
        ((X, X, 2.0), {}),
    ],
)
def test_arguments_by_name_and_dynamic_shapes(args, settings, tmp_path):
    shapes = {"x": {0: exporting.Dim("n")}, "y": ["n", None]}
    program = export(two, args, dynamic_shapes=shapes, input_names=["a", "b"], **settings)
    program.save(tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx").graph
    sizes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.input]
    assert [v.name for v in graph.input] == ["a", "b"]
    assert sizes == [["n", 3], ["n", 3]]


def test_parameters_as_inputs():
    program = export(nn.Linear(3, 2), X, keep_initializers_as_inputs=True)
    assert [v.name for v in program.model_proto.graph.input] == ["input", "weight", "bias"]


def test_every_argument_of_pytorch():
    torch = pytest.importorskip("torch")
    assert set(inspect.signature(torch.onnx.export).parameters) <= set(inspect.signature(export).parameters)


def test_wrong_arguments(tmp_path):
    with open(tmp_path / "text", "w") as file:
        refused(TypeError, "expected", export, nn.Linear(3, 2), X, file)
    refused(TypeError, "got path of type ndarray; expected", export, nn.Linear(3, 2), "f.onnx", X)
    text = "got dynamic_shapes of 'z': [0]; expected {axis: name} of input"
    refused(ValueError, text, export, nn.Linear(3, 2), X, dynamic_shapes={"z": [0]})

    def by_keyword(x, *, scale):
        return x * scale

    refused(ValueError, "got kwargs scale, which forward takes", export, by_keyword, X, kwargs={"scale": 2.0})


LAYERS = {
    "Sequential": (lambda: nn.Sequential(nn.Linear(3, 2), nn.ReLU()), (4, 3)),
    "Linear": (lambda: nn.Linear(3, 2), (4, 3)),
    "Conv2d": (lambda: nn.Conv2d(1, 2, 3), (4, 1, 8, 8)),
    "LSTM": (lambda: nn.LSTM(3, 2, batch_first=True), (4, 5, 3)),
    "LayerNorm": (lambda: nn.LayerNorm(3), (4, 3)),
    "GELU": (lambda: nn.GELU(), (4, 3)),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), (4, 1, 8, 8)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_first_argument_of_layers(name):
    """It is `input`, as in PyTorch, in the file and in dynamic_shapes, which a tuple or a dict gives."""
    make, shape = LAYERS[name]
    x = rv.tensor(np.ones(shape, np.float32))
    batch = {0: exporting.Dim("batch")}
    for shapes in (None, (batch,), {"input": batch}):
        program = export(make(), (x,), dynamic_shapes=shapes)
        [first] = program.model_proto.graph.input
        assert first.name == "input"
        assert first.type.tensor_type.shape.dim[0].dim_param == ("batch" if shapes else "")
    [by_name] = export(make(), (), kwargs={"input": x}).model_proto.graph.input
    assert by_name.name == "input"
    assert make()(input=x) is not None


def test_names_of_functions():
    assert [v.name for v in export(two, (X, X)).model_proto.graph.input] == ["x", "y"]
    nested = export(lambda pair, z: pair[0] + pair[1] * z, ((X, X), X))
    assert [v.name for v in nested.model_proto.graph.input] == ["pair_0", "pair_1", "z"]


def test_a_program_is_called():
    model = nn.Linear(3, 2).eval()
    x = rv.tensor(np.arange(6, dtype=np.float32).reshape(2, 3))
    program = export(model, (x,))
    found = program(x)
    assert isinstance(found, tuple)
    np.testing.assert_allclose(found[0].numpy(), model(x).numpy(force=True), rtol=1e-6)
    assert not found[0].requires_grad
    program.release()
    several = export(lambda pair, z: (pair[0] + pair[1], z), ((X, X), X))
    a, b = several((rv.tensor(X), rv.tensor(2 * X)), z=rv.tensor(X))
    assert (a == 3).all()
    assert (b == 1).all()


def test_text_of_a_shape():
    """The text of torch.Size does not hide that it holds a size of a dynamic axis."""
    program = (
        "import torch\n"
        "def model(x):\n"
        "    return x * 2 if '97' in f'{x.shape}' else x\n"
        "try:\n"
        "    torch.onnx.export(model, torch.ones(6, 2), input_names=['x'], dynamic_axes={'x': {0: 'n'}})\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    assert "as text" in in_mode(program)
