"""Augmentation: what each does to an image, and that the same images get the same whatever surrounds them."""

import numpy as np
import pytest
import ranvier as rv
from ranvier.data import DataLoader, TensorDataset, augment
from support.layouts import in_layout
from support.refused import refused
from support.tolerance import tolerance

RNG = np.random.default_rng(0)
X = RNG.random((12, 3, 10, 8)).astype(np.float32)
Y = np.arange(12) % 4

EACH = [
    augment.RandomHorizontalFlip(), augment.RandomVerticalFlip(0.7),
    augment.RandomCrop((6, 7), padding=(1, 2), padding_mode="reflect"), augment.CenterCrop(7),
    augment.RandomRotation(30), augment.RandomAffine(20, (0.1, 0.2), (0.8, 1.2), 10, fill=0.5),
    augment.RandomErasing(0.8),
    augment.Compose([augment.RandomHorizontalFlip(), augment.RandomRotation(10)]),
]  # fmt: skip
each = pytest.mark.parametrize("step", EACH, ids=lambda step: type(step).__name__)


def seeded(step, *args):
    rv.manual_seed(7)
    return step(*args)


@each
def test_the_same_in_any_layout_type_and_company(step):
    y = seeded(step, X)
    assert isinstance(y, np.ndarray)
    assert y.dtype == X.dtype
    for layout in ("channels_last", "reversed", "transposed"):
        np.testing.assert_array_equal(seeded(step, in_layout(X, layout)), y)
    tensor = seeded(step, rv.from_numpy(X))
    assert isinstance(tensor, rv.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), y)
    assert np.array_equal(seeded(step, X[:5]), y[:5])
    if not isinstance(step, augment.CenterCrop):
        assert not np.array_equal(step(X), y)  # the next draw is another one
    assert seeded(step, X[:0]).shape == (0, *y.shape[1:])
    np.testing.assert_allclose(seeded(step, X.astype(float)), y, atol=tolerance(np.float32, 20))


@each
def test_bytes(step):
    pixels = (X * 255).astype(np.uint8)
    if isinstance(step, augment.RandomAffine):
        step = augment.RandomAffine(20, fill=7)
    y = seeded(step, pixels)
    assert y.dtype == np.uint8
    assert np.abs(seeded(step, pixels.astype(float)) - y).max() <= 0.5 + 1e-3


@pytest.mark.parametrize(
    ("flip", "axis"), [(augment.RandomHorizontalFlip, 3), (augment.RandomVerticalFlip, 2)]
)
def test_flips(flip, axis):
    np.testing.assert_array_equal(flip(1)(X), np.flip(X, axis))
    np.testing.assert_array_equal(flip(0)(X), X)
    many = flip(0.3)(np.broadcast_to(X[:1, :1], (4000, 1, 10, 8)))
    share = (many[:, 0] == np.flip(X[:1], axis)[0, 0]).all((1, 2)).mean()
    assert abs(share - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 4000)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
def test_crops_are_windows_of_the_padded_image(mode):
    value = {"constant_values": 5} if mode == "constant" else {}
    padded = np.pad(X, ((0, 0), (0, 0), (2, 4), (1, 3)), mode, **value)
    y = augment.RandomCrop((9, 8), padding=(1, 2, 3, 4), fill=5, padding_mode=mode)(X)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (9, 8), axis=(2, 3))
    for image, crop in enumerate(y):
        found = (windows[image] == crop[:, None, None]).all((0, 3, 4))
        assert found.sum() == 1
    all_places = augment.RandomCrop(2)(np.broadcast_to(np.arange(9.0).reshape(1, 1, 3, 3), (200, 1, 3, 3)))
    assert sorted(set(all_places[:, 0, 0, 0])) == [0, 1, 3, 4]


def test_crops_of_images_that_are_too_small():
    refused(ValueError, "got images of (10, 8), (12, 10) with padding", augment.RandomCrop(11, padding=1), X)
    y = augment.RandomCrop(11, pad_if_needed=True)(X)
    assert y.shape == (12, 3, 11, 11)
    assert (y != 0).sum(axis=(1, 2, 3)).max() == 240
    assert augment.CenterCrop(12)(X)[0, 0, 0].max() == 0
    np.testing.assert_array_equal(augment.CenterCrop((4, 2))(X), X[:, :, 3:7, 3:5])


def test_turns():
    square = X[..., :8, :]
    for quarters in range(4):
        y = augment.RandomRotation((90 * quarters, 90 * quarters))(square)
        np.testing.assert_allclose(y, np.rot90(square, quarters, axes=(2, 3)), atol=1e-6)
    clockwise = augment.RandomAffine((90, 90))(square)
    np.testing.assert_allclose(clockwise, np.rot90(square, -1, axes=(2, 3)), atol=1e-6)
    nearest = augment.RandomRotation(45, interpolation="nearest", fill=-1)(X)
    assert np.isin(nearest, np.append(X, np.float32(-1))).all()


def test_affine_moves_and_scales():
    halves = augment.RandomAffine(0, scale=(2, 2))(np.ones((1, 1, 8, 8)))
    assert halves.min() == 1
    small = augment.RandomAffine(0, scale=(0.5, 0.5))(np.ones((1, 1, 8, 8)))
    assert small.sum() == 16
    dot = np.zeros((500, 1, 21, 41))
    dot[:, 0, 10, 20] = 1
    _, _, rows, columns = np.nonzero(augment.RandomAffine(0, translate=(0.25, 0.1))(dot))
    assert (abs(rows - 10).max(), abs(columns - 20).max()) == (2, 10)
    sheared = augment.RandomAffine(0, shear=(45, 45))(dot[:1])
    assert sheared[0, 0, 10, 20] == 1
    line = np.zeros((1, 1, 5, 5))
    line[0, 0, :, 2] = 1
    sheared = augment.RandomAffine(0, shear=(45, 45))(line)
    np.testing.assert_allclose(sheared[0, 0], np.eye(5)[::-1], atol=1e-12)


def test_random_erasing():
    ones = np.ones((400, 1, 32, 32))
    y = augment.RandomErasing(p=1, scale=(0.1, 0.2), value=3.0)(ones)
    shares = (y == 3).mean((1, 2, 3))
    assert 0.08 < shares.min() < shares.max() < 0.23
    for image in y[:, 0]:
        rows, columns = np.nonzero(image == 3)
        assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert (augment.RandomErasing(p=0)(ones) == 1).all()
    assert (augment.RandomErasing(p=1)(ones[..., :1, :1]) == 1).all()


def test_mixup_mixes_images_and_labels_alike():
    values = np.arange(12.0)
    flat = np.broadcast_to(values.reshape(-1, 1, 1, 1), (12, 2, 3, 4))
    x, y = augment.Mixup(alpha=0.5, num_classes=12)(flat, np.arange(12))
    np.testing.assert_allclose(x, np.broadcast_to((y @ values).reshape(-1, 1, 1, 1), x.shape), atol=1e-12)
    np.testing.assert_allclose(y.sum(1), 1)
    assert ((y > 0).sum(1) == 2).sum() > 6
    soft = np.full((12, 3), 1 / 3)
    np.testing.assert_allclose(augment.Mixup()(flat, soft)[1], soft)
    same = augment.Mixup(num_classes=4, p=0)(X, rv.from_numpy(Y))
    np.testing.assert_array_equal(same[0], X)
    assert isinstance(same[1], rv.Tensor)
    assert same[1].dtype == np.float32


def test_cutmix_labels_are_areas():
    values = np.arange(12.0)
    flat = np.broadcast_to(values.reshape(-1, 1, 1, 1), (12, 2, 7, 9))
    x, y = augment.CutMix(num_classes=12)(flat, np.arange(12))
    for image, shares in zip(x, y, strict=True):
        found = [(image == value).mean() for value in values]
        np.testing.assert_allclose(found, shares, atol=1e-12)


def test_compose():
    both = augment.Compose([lambda x: x + 1, augment.Mixup(num_classes=4), augment.RandomHorizontalFlip()])
    assert both.mixes_labels
    x, y = both(X, Y)
    assert x.min() >= 1
    assert y.shape == (12, 4)
    refused(ValueError, "images without labels to mix", both, X)


def test_in_a_loader_with_a_transform():
    pixels = (X * 255).astype(np.uint8)
    flip, scale = augment.RandomHorizontalFlip(1), rv.data.MinMaxScaler(0, 255)
    loader = DataLoader(TensorDataset(pixels, Y), 4, augment=flip, transform=scale)
    x = np.concatenate([x.numpy() for x, _ in loader])
    np.testing.assert_allclose(x, pixels[..., ::-1] / 255, rtol=1e-12)
    single = DataLoader(X, 4, augment=augment.RandomHorizontalFlip(1))
    np.testing.assert_array_equal(next(iter(single)).numpy(), X[:4, ..., ::-1])
    with pytest.raises(TypeError, match="got a batch of type dict to augment"):
        next(iter(DataLoader([{"x": X[0]}], augment=augment.RandomHorizontalFlip())))
    with pytest.raises(ValueError, match="batches without labels to mix"):
        next(iter(DataLoader(TensorDataset(X), augment=augment.Mixup())))


def test_errors():
    refused(ValueError, "[RandomHorizontalFlip] got p 1.5", augment.RandomHorizontalFlip, 1.5)
    refused(TypeError, "got p 'a'; expected a number", augment.RandomHorizontalFlip, "a")
    refused(ValueError, "of shape (3, 10, 8); expected (N, C", augment.RandomHorizontalFlip(), X[0])
    refused(TypeError, "got size 1.5; expected a whole number", augment.RandomCrop, 1.5)
    refused(ValueError, "got size 0; expected at least 1", augment.RandomCrop, 0)
    refused(ValueError, "got padding_mode 'wrap'", augment.RandomCrop, 4, padding_mode="wrap")
    refused(ValueError, "got degrees -5", augment.RandomRotation, -5)
    refused(ValueError, "expected (low, high)", augment.RandomRotation, (5, 1))
    refused(TypeError, "expected a number or a pair", augment.RandomRotation, "x")
    refused(ValueError, "got interpolation 'cubic'", augment.RandomRotation, 5, "cubic")
    refused(ValueError, "got scale 0; expected above 0", augment.RandomAffine, 0, scale=(0, 1))
    refused(ValueError, "expected two shares", augment.RandomAffine, 0, translate=(2, 0))
    refused(ValueError, "got scale 2; expected 0 <= scale <= 1", augment.RandomErasing, scale=(0, 2))
    refused(ValueError, "got alpha 0; expected a number above 0", augment.Mixup, 0)
    refused(ValueError, "expected num_classes to be given", augment.Mixup(), X, Y)
    refused(ValueError, "got 12 images and 3 labels", augment.Mixup(num_classes=4), X, Y[:3])
    refused(TypeError, "expected class numbers", augment.Mixup(num_classes=4), X, Y.astype("f4"))
