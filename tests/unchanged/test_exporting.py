"""torch.onnx.export's arguments."""

import inspect
import io

import numpy as np
import pytest
from ranvier import nn
from ranvier.torch import exporting
from ranvier.torch.exporting import ONNXProgram, OperatorExportTypes, TrainingMode, export
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
    assert [v.name for v in program.model_proto.graph.input] == ["x", "weight", "bias"]


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
