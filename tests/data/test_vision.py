"""ranvier.data.vision: values of pillow and of definitions, torchvision's sizes and its folder layout."""

import gzip
import inspect
import math
import pickle
import struct

import numpy as np
import pytest
import ranvier as rv
import ranvier.data.vision as vision
from ranvier.data import DataLoader
from ranvier.data.vision import datasets, models, transforms, utils
from ranvier.data.vision.datasets import folder
from ranvier.data.vision.transforms import functional as F
from support.refused import refused

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (13, 18, 3), np.uint8)

# a call of functional, and by how many levels the result for a Tensor of bytes may differ from pillow's
EACH = {
    "hflip": (lambda x: F.hflip(x), 0), "vflip": (lambda x: F.vflip(x), 0),
    "crop": (lambda x: F.crop(x, 2, 3, 7, 9), 0), "crop outside": (lambda x: F.crop(x, -2, 13, 7, 9), 0),
    "center_crop": (lambda x: F.center_crop(x, [8, 5]), 0),
    "center_crop larger": (lambda x: F.center_crop(x, [20, 5]), 0),
    "pad": (lambda x: F.pad(x, [1, 2, 3, 4], 7), 0),
    "pad edge": (lambda x: F.pad(x, [1, 2], padding_mode="edge"), 0),
    "pad reflect": (lambda x: F.pad(x, [3], padding_mode="reflect"), 0),
    "pad symmetric": (lambda x: F.pad(x, [3, 1], padding_mode="symmetric"), 0),
    "resize": (lambda x: F.resize(x, [7, 9]), 1), "resize shorter side": (lambda x: F.resize(x, 20), 1),
    "resize max_size": (lambda x: F.resize(x, 10, max_size=12), 1),
    "resize bicubic": (lambda x: F.resize(x, [5, 30], F.InterpolationMode.BICUBIC), 1),
    "resize nearest": (lambda x: F.resize(x, [26, 6], F.InterpolationMode("nearest-exact")), 0),
    "resized_crop": (lambda x: F.resized_crop(x, 1, 2, 9, 9, [6, 6]), 1),
    "brightness": (lambda x: F.adjust_brightness(x, 1.3), 0),
    "contrast": (lambda x: F.adjust_contrast(x, 0.4), 1),
    "saturation": (lambda x: F.adjust_saturation(x, 1.7), 1), "hue": (lambda x: F.adjust_hue(x, -0.21), 8),
    "gray": (lambda x: F.rgb_to_grayscale(x, 3), 1),
    "blur": (lambda x: F.gaussian_blur(x, [3, 5], [0.8, 1.1]), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", EACH)
def test_tensors_are_changed_as_pillows_images(name):
    call, most = EACH[name]
    pixels = (
        BYTES // 2 + 64 if "bicubic" in name else BYTES
    )  # pillow before 13 clips between the two directions
    expected = np.asarray(call(Image.fromarray(pixels)), np.int64).transpose(2, 0, 1)
    bytes_ = call(rv.from_numpy(pixels.transpose(2, 0, 1).copy())).numpy()
    assert bytes_.dtype == np.uint8
    assert np.abs(bytes_ - expected).max() <= most
    if not name.startswith("pad"):
        floats = call(transforms.ToTensor()(Image.fromarray(pixels))).numpy()
        assert np.abs(floats * 255 - bytes_).max() <= 1.5


MOVES = [  # angle (counter-clockwise), center, expand, fill
    (30, None, False, None),
    (-75, (4.0, 2.5), False, [0.5]),
    (200, None, True, [0.1, 0.2, 0.3]),
    (40, (0.0, 13.0), False, None),
]


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize(("angle", "center", "expand", "fill"), MOVES)
def test_rotations_by_their_definition(mode, angle, center, expand, fill):
    """Pixel by pixel: pixel centres are at halves, y points down, and around the image are zeros."""
    x = BYTES.transpose(2, 0, 1) / 255.0
    h, w = x.shape[1:]
    picture = Image.fromarray(BYTES).rotate(angle, expand=expand)
    about = np.array(center or (w / 2, h / 2)) - (w / 2, h / 2)
    turn = np.deg2rad(angle)
    back = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    expected = np.zeros((3, picture.height, picture.width))
    for i, j in np.ndindex(expected.shape[1:]):
        place = np.array([j + 0.5 - picture.width / 2, i + 0.5 - picture.height / 2])
        column, row = back @ (place - about) + about + (w / 2 - 0.5, h / 2 - 0.5)
        near = [np.abs(np.arange(n) - at) for n, at in ((h, row), (w, column))]
        near = [d < 0.5 if mode == "nearest" else np.maximum(1 - d, 0) for d in near]
        weights = np.multiply.outer(*near)
        share, value = weights.sum(), (x * weights).sum((1, 2))
        expected[:, i, j] = value if fill is None else value * share + (1 - share) * np.array(fill)
    got = F.rotate(rv.from_numpy(x), angle, F.InterpolationMode(mode), expand, center, fill).numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test_empty_images_and_half_precision():
    assert F.rotate(rv.zeros(3, 0, 5), 30).shape == (3, 0, 5)
    x = rv.rand(3, 6, 7)
    half, single = (F.rotate(y, 30, F.InterpolationMode.BILINEAR, fill=[1]) for y in (x.half(), x))
    assert half.dtype == np.float16
    np.testing.assert_allclose(half.numpy(), single.numpy(), rtol=0, atol=1e-3)  # 2**-11, of numbers up to 1


def test_quarters_and_masks():
    x = rv.from_numpy(BYTES[1:].transpose(2, 0, 1).copy())
    for quarters in range(5):
        turned = F.rotate(x, 90 * quarters, expand=True).numpy()
        np.testing.assert_array_equal(turned, np.rot90(x.numpy(), quarters, (1, 2)))
    for step in (
        F.hflip,
        F.vflip,
        lambda x: F.crop(x, -1, 9, 20, 20),
        lambda x: F.center_crop(F.pad(x, 3), 4),
    ):
        np.testing.assert_array_equal(step(x[0]).numpy(), step(x).numpy()[0])


def test_tensors_of_images_and_back():
    picture = Image.fromarray(BYTES)
    x = transforms.ToTensor()(picture)
    np.testing.assert_array_equal(x.numpy(), BYTES.transpose(2, 0, 1).astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(np.asarray(transforms.ToPILImage()(x)), BYTES)
    np.testing.assert_array_equal(transforms.PILToTensor()(picture).numpy(), BYTES.transpose(2, 0, 1))
    gray = Image.fromarray(BYTES[..., 0])
    assert transforms.ToTensor()(gray).shape == (1, 13, 18)
    np.testing.assert_array_equal(np.asarray(F.to_pil_image(F.to_tensor(gray))), BYTES[..., 0])
    black_white = Image.fromarray(BYTES[..., 0] > 99)
    np.testing.assert_array_equal(
        F.to_tensor(black_white).numpy()[0], np.asarray(black_white).astype(np.float32)
    )
    y = transforms.Normalize((0.5, 0.4, 0.3), (0.1, 0.2, 0.4))(x)
    mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in ((0.5, 0.4, 0.3), (0.1, 0.2, 0.4)))
    np.testing.assert_array_equal(y.numpy(), (x.numpy() - mean) / std)
    assert transforms.Normalize(0.5, 0.5, inplace=True)(x) is x


RANDOM = [
    transforms.RandomCrop(9, padding=2, padding_mode="reflect"),
    transforms.RandomCrop(20, pad_if_needed=True), transforms.RandomResizedCrop(8),
    transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip(0.7), transforms.RandomRotation(20),
    transforms.ColorJitter(0.4, 0.4, 0.4, 0.1), transforms.RandomGrayscale(0.5), transforms.GaussianBlur(3),
    transforms.RandomApply([transforms.RandomVerticalFlip(1.0)], 0.5),
]  # fmt: skip


@pytest.mark.parametrize("step", RANDOM, ids=lambda step: type(step).__name__)
def test_random_transforms(step):
    picture = Image.fromarray(BYTES)
    tensor = F.pil_to_tensor(picture)

    def drawn(image, seed):
        rv.manual_seed(seed)
        return np.asarray(step(image))

    results = [drawn(picture, seed) for seed in range(12)]
    assert len({result.tobytes() for result in results}) > 1
    assert all(np.array_equal(drawn(picture, seed), results[seed]) for seed in range(12))
    for seed in range(4):
        rows, columns = drawn(tensor, seed).shape[-2:]
        assert results[seed].shape[:2] == (rows, columns)


def test_refusals_of_transforms():
    refused(TypeError, "expected a PIL image or a Tensor", F.hflip, BYTES)
    refused(TypeError, "expected a PIL image or an array", F.to_tensor, [1, 2])
    refused(RuntimeError, "use detach", F.hflip, rv.ones(3, 4, 4, requires_grad=True))
    refused(ValueError, "expected (..., h, w)", F.hflip, rv.ones(4))
    refused(ValueError, "expected (..., c, h, w)", F.rotate, rv.ones(4, 4), 30)
    refused(ValueError, "expected at least 0", F.crop, rv.ones(1, 4, 4), 0, 0, -1, 2)
    refused(ValueError, "expected nearest or bilinear", F.rotate, rv.ones(1, 4, 4), 30, "bicubic")
    refused(ValueError, "got fill [1, 2] for 3 channels", F.rotate, rv.ones(3, 4, 4), 30, fill=[1, 2])
    refused(ValueError, "expected (x, y) and finite numbers", F.rotate, rv.ones(3, 4, 4), math.nan)
    refused(ValueError, "expected (x, y) and finite numbers", F.rotate, rv.ones(3, 4, 4), 30, center=[1])
    refused(ValueError, "of the dtype's range", F.rotate, rv.ones(3, 4, 4).to(np.uint8), 30, fill=256)
    refused(ValueError, "expected at least (9, 9)", transforms.RandomCrop(9), rv.ones(3, 4, 4))
    refused(ValueError, "got interpolation 'cubic'", transforms.Resize, 4, "cubic")
    refused(ValueError, "got size 0", transforms.Resize, 0)
    refused(ValueError, "expected 1, 2 or 4 counts", transforms.Pad, (1, 2, 3))
    refused(ValueError, "[ColorJitter] got hue", transforms.ColorJitter, hue=0.7)
    refused(rv.CaptureError, "reads a value", rv.compile(F.hflip, strict=True), rv.ones(1, 2, 2))


def test_grids(tmp_path):
    x = RNG.random((3, 1, 2, 2)).astype(np.float32)
    expected = np.full((7, 7), 0.5)  # the fourth place is empty
    for number, (top, left) in enumerate(((1, 1), (1, 4), (4, 1))):
        expected[top : top + 2, left : left + 2] = x[number, 0]
    expected = np.stack([expected] * 3)
    settings = {"nrow": 2, "padding": 1, "pad_value": 0.5}
    grid = utils.make_grid(rv.from_numpy(x), **settings).numpy()
    np.testing.assert_array_equal(grid, expected)
    scaled = utils.make_grid(rv.from_numpy(x * 7 - 3), normalize=True, **settings).numpy()
    low, high = x.min(), x.max()
    inside = grid != 0.5
    np.testing.assert_allclose(scaled[inside], (grid[inside] - low) / (high - low), atol=1e-5)
    utils.save_image(rv.from_numpy(x), tmp_path / "grid.png", **settings)
    saved = np.asarray(Image.open(tmp_path / "grid.png"), np.int64)
    assert np.abs(saved - expected.transpose(1, 2, 0) * 255).max() <= 0.5 + 1e-3


# --- data sets


@pytest.fixture
def mnist(tmp_path):
    """A folder as torchvision's MNIST has it, and its pixels."""
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    x, y = RNG.integers(0, 256, (10, 28, 28), np.uint8), np.arange(10, dtype=np.uint8)
    for part in ("train", "t10k"):
        header = struct.pack(">HBBIII", 0, 8, 3, 10, 28, 28)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + x.tobytes())
        labels = struct.pack(">HBBI", 0, 8, 1, 10) + y.tobytes()
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return tmp_path, x


def test_mnist(mnist):
    root, x = mnist
    plain = datasets.MNIST(str(root))
    picture, label = plain[3]
    assert (picture.mode, label, plain.classes[3]) == ("L", 3, "3 - three")
    np.testing.assert_array_equal(np.asarray(picture), x[3])
    np.testing.assert_array_equal(plain.data.numpy(), x)
    steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    changed = datasets.MNIST(root, train=False, transform=steps, target_transform=lambda y: y + 1)
    images, labels = next(iter(DataLoader(changed, 4)))
    assert images.shape == (4, 1, 28, 28)
    assert labels.tolist() == [1, 2, 3, 4]
    refused(FileNotFoundError, "use download=True", datasets.FashionMNIST, root)


@pytest.mark.parametrize("kind", [datasets.CIFAR10, datasets.CIFAR100])
def test_cifar(kind, tmp_path, monkeypatch):
    import hashlib

    folder = tmp_path / kind.base_folder
    folder.mkdir()
    key = "labels" if kind is datasets.CIFAR10 else "fine_labels"
    x = RNG.integers(0, 256, (4, 3072), np.uint8)
    meta = pickle.dumps({kind.meta["key"]: ["a", "b"]}, 2)
    batch = pickle.dumps({"data": x, key: [0, 1, 1, 0]}, 2)
    (folder / "batch").write_bytes(batch)
    (folder / "about").write_bytes(meta)
    refused(FileNotFoundError, "use download=True", kind, tmp_path)
    md5 = [hashlib.md5(content).hexdigest() for content in (batch, meta)]
    monkeypatch.setattr(kind, "train_list", [["batch", md5[0]]])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "filename": "about", "md5": md5[1]})
    found = kind(tmp_path)
    np.testing.assert_array_equal(np.asarray(found[2][0]), x[2].reshape(3, 32, 32).transpose(1, 2, 0))
    assert (len(found), found[2][1], found.class_to_idx) == (4, 1, {"a": 0, "b": 1})
    (folder / "batch").write_bytes(batch + b" ")
    refused(ValueError, "it is damaged", kind, tmp_path)
    code = pickle.dumps(print)
    (folder / "batch").write_bytes(code)
    monkeypatch.setattr(kind, "train_list", [["batch", hashlib.md5(code).hexdigest()]])
    refused(ValueError, "expected arrays only", kind, tmp_path)


def test_image_folder(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name / "more").mkdir(parents=True)
        Image.fromarray(BYTES).save(tmp_path / name / "2.png")
        Image.fromarray(BYTES).save(tmp_path / name / "more" / "1.png")
        (tmp_path / name / "notes.txt").write_text("no image")
    found = datasets.ImageFolder(str(tmp_path), transforms.ToTensor())
    assert found.targets == [0, 0, 1, 1]
    assert found.class_to_idx == {"cat": 0, "dog": 1}
    assert found[3][0].shape == (3, 13, 18)
    (tmp_path / "dog" / "0.png").write_bytes(b"no image")
    for kind in (ValueError, OSError):  # programs that skip broken images catch pillow's OSError
        refused(kind, "0.png' is broken", datasets.ImageFolder(str(tmp_path)).__getitem__, 2)
    (tmp_path / "eel").mkdir()
    refused(FileNotFoundError, "no files for the classes eel", datasets.ImageFolder, str(tmp_path))
    assert len(datasets.ImageFolder(str(tmp_path), allow_empty=True)) == 5


def test_own_classes_and_files(tmp_path):
    """A subclass chooses; torchvision calls these methods, and its modules have the functions."""

    class Chosen(datasets.ImageFolder):
        def find_classes(self, directory):
            return ["dog"], {"dog": 4}

    class Listed(datasets.ImageFolder):
        @staticmethod
        def make_dataset(directory, class_to_idx, **settings):
            return [("listed.png", 0), ("listed.png", 1)]

    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.fromarray(BYTES).save(tmp_path / name / "1.PNG")
    path = str(tmp_path / "dog" / "1.PNG")
    assert Chosen(str(tmp_path)).samples == [(path, 4)]
    assert Listed(tmp_path).targets == [0, 1]
    assert len(datasets.DatasetFolder(tmp_path, str, [".png", ".jpg"])) == 2
    assert folder.make_dataset(tmp_path, {"dog": 1}, extensions=".png") == [(path, 1)]
    assert (folder.is_image_file(path), folder.is_image_file("a.txt")) == (True, False)
    refused(ValueError, "one of them", folder.make_dataset, tmp_path)


def test_transforms_of_image_and_label():
    class Pairs(datasets.VisionDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return self.transforms(index, 3)

    assert Pairs(transform=lambda x: x + 1, target_transform=str)[0] == (1, "3")
    assert Pairs(transforms=lambda x, y: (y, x))[0] == (3, 0)
    assert Pairs().transforms is None
    fake = datasets.FakeData(1, transform=transforms.ToTensor())
    lines = "Dataset FakeData,    Number of datapoints: 1,    StandardTransform,Transform: ToTensor()"
    assert repr(fake).splitlines() == lines.split(",")


@pytest.mark.parametrize("image", [np.array([[1, 40000]], np.uint16), np.array([[True, False]])], ids=str)
def test_other_pixels_than_bytes(image):
    """Pixels of 16 bits and of one: none is negative, none is 255 times as large."""
    picture = Image.fromarray(image)
    found = F.pil_to_tensor(picture)
    assert (found.dtype, found.tolist()) == (image.dtype, [image.tolist()])
    assert found.double().tolist() == F.to_tensor(picture).double().tolist() == [image.astype(float).tolist()]
    if image.dtype == np.uint16:
        assert np.array_equal(np.asarray(F.to_pil_image(found)), image)
        assert F.to_tensor(image).tolist() == [image.tolist()]


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "PA", "CMYK", "YCbCr", "HSV", "LA", "I", "F"])
@pytest.mark.parametrize("padding_mode", ["edge", "reflect"])
def test_pads_keep_the_mode_and_the_colours(mode, padding_mode):
    picture = Image.fromarray(BYTES).convert("P").convert(mode) if mode == "PA" else Image.fromarray(BYTES)
    picture = picture.convert(mode)
    padded = F.pad(picture, 2, padding_mode=padding_mode)
    inner = F.crop(padded, 2, 2, picture.height, picture.width)
    assert (padded.mode, inner.convert("RGBA").tobytes()) == (mode, picture.convert("RGBA").tobytes())


def test_fake_data():
    fake = datasets.FakeData(3, (1, 8, 9), transform=transforms.ToTensor())
    assert fake[1][0].shape == (1, 8, 9)
    assert rv.equal(fake[1][0], fake[1][0])
    assert len(list(fake)) == 3


# --- models

# numbers in the weights of torchvision's models, and one of their names
SIZES = {
    "resnet18": (11_689_512, "layer2.0.downsample.0.weight"),
    "resnet50": (25_557_032, "layer4.2.conv3.weight"),
    "resnet152": (60_192_808, "layer3.35.bn3.bias"), "vgg16": (138_357_544, "features.28.weight"),
    "vgg16_bn": (138_365_992, "features.41.running_mean"), "vgg19": (143_667_240, "classifier.6.bias"),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_models_have_torchvisions_weights(name):
    with rv.nn.init.skipped():
        model = getattr(models, name)()
    count, key = SIZES[name]
    assert sum(p.numel() for p in model.parameters()) == count
    assert key in model.state_dict()


@pytest.mark.parametrize(
    "name",
    [n for n in dir(transforms) if n != "InterpolationMode" and inspect.isclass(getattr(transforms, n))],
)
def test_the_signature_of_a_transform_names_its_arguments(name):
    parameters = inspect.signature(getattr(transforms, name)).parameters.values()
    assert all(p.kind is not p.VAR_POSITIONAL for p in parameters)


def test_a_model_trains_and_refuses_downloads():
    model = models.resnet18(num_classes=3)
    rv.nn.functional.cross_entropy(model(rv.rand(2, 3, 33, 33)), rv.tensor([0, 2])).backward()
    assert all(p.grad is not None for p in model.parameters())
    refused(ValueError, "no weights are downloaded", models.resnet18, pretrained=True)
    refused(ValueError, "load_state_dict(rv.load(path))", models.vgg16, weights="DEFAULT")
    table = models.ResNet18_Weights
    refused(ValueError, "got weights='ResNet18_Weights.DEFAULT'", models.resnet18, weights=table.DEFAULT)
    assert vision.models is models
