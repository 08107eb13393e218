"""Each setting of rv.save and rv.load has an effect, is refused, or is PyTorch's and said to have none."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.effects import Exempt, require_effect, require_rows

PYTORCH = Exempt("PyTorch's, said to have no effect: a file never has code")
SAVE = {
    "input_shape": (3,),
    "class_names": ["a", "b"],
    "preprocessing": [rv.data.Standardize([1.0, 1.0, 1.0], [2.0, 2.0, 2.0])],
    "link": "softmax",
    "feature_names": ["x", "y", "z"],
    "training_data": {"samples": 3},
    "pickle_module": PYTORCH,
    "pickle_protocol": PYTORCH,
    "_use_new_zipfile_serialization": PYTORCH,
}


def model():
    rv.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2))


@pytest.mark.parametrize("setting", SAVE)
def test_a_setting_of_save(setting, tmp_path):
    require_rows(rv.save, SAVE, given=["obj", "f"])

    def outcome(**settings):
        path = tmp_path / "m.safetensors"
        rv.save(model(), path, **settings)
        about = rv.serialization.info(rv.load(path))
        steps = None if about.preprocessing is None else repr(about.preprocessing)
        return [str(about.input_shape), str(about.class_names), steps, about.link, str(about.feature_names),
                str(about.training_data)]  # fmt: skip

    require_effect(outcome, setting, SAVE[setting])


def test_what_is_about_models_is_refused_for_others(tmp_path):
    for name in list(SAVE)[:6]:
        with pytest.raises(TypeError, match=r"\[save\] got .* with a dict; expected a Module"):
            rv.save({"a": 1}, tmp_path / "d.safetensors", **{name: SAVE[name]})


LOAD = {
    "into": nn.Sequential(nn.Linear(3, 2)),
    "map_location": Exempt("PyTorch's, said to have no effect: all is loaded to the CPU"),
    "weights_only": Exempt("of files of PyTorch: test_pytorch_files"),
    "mmap": Exempt("how a file is read, not what: test_mapped"),
    "pickle_module": Exempt("of files of PyTorch, with weights_only=False"),
    "dtype": Exempt("of files of PyTorch, refused below for others"),
    "encoding": Exempt("of files of PyTorch, with weights_only=False"),
}


@pytest.mark.parametrize("setting", LOAD)
def test_a_setting_of_load(setting, tmp_path):
    require_rows(rv.load, LOAD, given=["f"])
    path = tmp_path / "m.safetensors"
    rv.save(model(), path)

    def outcome(**settings):
        loaded = rv.load(path, **settings)
        return [id(loaded) == id(LOAD["into"]), np.asarray(loaded[0].weight.detach())]

    require_effect(outcome, setting, LOAD[setting])


def test_a_dtype_for_a_file_that_is_not_of_pytorch(tmp_path):
    path = tmp_path / "m.safetensors"
    rv.save({"w": rv.ones(2)}, path)
    with pytest.raises((TypeError, ValueError), match="dtype"):
        rv.load(path, dtype=rv.float64)
