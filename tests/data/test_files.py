"""Archives and folders of images: their contents, and the errors that name what is wrong."""

import builtins
import io
import shutil
import zipfile

import numpy as np
import PIL.Image as pillow
import pytest
import ranvier as rv
from ranvier.data import datasets, load
from ranvier.data.datasets import load_images, load_npz, read_image
from support.refused import refused

# --- archives


@pytest.fixture
def archive(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "a.npz", **arrays)
        return tmp_path / "a.npz"

    return write


def test_an_archive(archive):
    x, y = np.random.default_rng(0).normal(size=(6, 3)), np.array([2, 0, 2, 5, 0, 2])
    for names in (("x", "y"), ("X", "y"), ("x_train", "y_train"), ("images", "labels"), ("data", "target")):
        got = load(archive(**dict(zip(names, (x, y), strict=True))))
        np.testing.assert_array_equal(got.x, x.astype(np.float32))
        assert got.y.tolist() == [1, 0, 1, 2, 0, 1]
        assert got.class_names == ("0", "2", "5")
    mine = archive(inputs=x, outputs=y / 2)
    got = load_npz(mine, "inputs", "outputs")
    assert got.y.dtype == np.float32
    assert got.class_names is None
    assert load_npz(archive(x=x, kind=y), y="kind").y is not None
    assert load(archive(x=x, kind=y[:, None]), "kind").y.shape == (6,)
    assert load(archive(x=x, y=np.stack([y, y], 1))).y.shape == (6, 2)
    assert load(archive(only=x)).y is None
    assert load(archive(x=x, y=y), None).y is None
    assert load(archive(x=x, y=y), task="regression").y.tolist() == y.tolist()


def test_pixels_in_an_archive(archive):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), np.uint8)
    got = load(archive(x=pixels[..., 0], y=np.arange(4)))
    assert got.x.shape == (4, 1, 5, 6)
    np.testing.assert_array_equal(np.rint(got.x[:, 0] * 255), pixels[..., 0])
    got = load(archive(x=pixels, y=np.arange(4)))
    assert got.x.shape == (4, 3, 5, 6)
    np.testing.assert_array_equal(np.rint(got.x * 255), pixels.transpose(0, 3, 1, 2))
    assert load(archive(x=pixels.transpose(0, 3, 1, 2))).x.shape == (4, 3, 5, 6)


def test_class_names_in_an_archive(archive):
    x, names = np.zeros((3, 2)), np.array(["ant", "bee", "cow"])
    assert load(archive(x=x, y=np.array([0, 2, 1]), class_names=names)).class_names == ("ant", "bee", "cow")
    assert load(archive(x=x, y=np.array(["b", "a", "b"]))).class_names == ("a", "b")
    with pytest.raises(ValueError, match="expected a name for each class 0, 1, 2"):
        load(archive(x=x, y=np.array([0, 7, 1]), class_names=names))


def test_wrong_archives(archive, tmp_path):
    x = np.zeros((3, 2))
    refused(ValueError, "has arrays a, b; expected x and y", load_npz, archive(a=x, b=x))
    refused(ValueError, "has no array 'c'; it has a, b", load_npz, archive(a=x, b=x), "c")
    refused(ValueError, "expected as many targets as samples", load_npz, archive(x=x, y=np.zeros(4)))
    with pytest.raises(ValueError, match="Python objects are not loaded"):
        load_npz(archive(x=np.array([{}, {}, {}], object), y=np.zeros(3)))
    with pytest.raises(ValueError, match=r"has missing or infinite values in 'x': (nan|inf) at row \d"):
        load_npz(archive(x=np.full((3, 2), np.nan), y=np.zeros(3)))
    with pytest.raises(ValueError, match="expected numbers, one entry for each sample"):
        load_npz(archive(x=np.array(["a"]), y=np.zeros(1)))
    good = archive(x=np.arange(4000.0).reshape(1000, 4), y=np.zeros(1000)).read_bytes()
    damaged = good[:300] + b"\xff" * 50 + good[350:]
    for number, content in enumerate((b"", b"PK", good[: len(good) // 2], damaged)):
        path = tmp_path / f"{number}.npz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"\[load_npz\] '.*' is (damaged or )?no archive|is damaged"):
            load_npz(path)
    np.save(tmp_path / "single.npy", x)
    (tmp_path / "single.npy").rename(tmp_path / "single.npz")
    refused(ValueError, "is a single array (.npy)", load_npz, tmp_path / "single.npz")
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive_of_text:
        archive_of_text.writestr("x.txt", "hello")
    refused(ValueError, "[load_npz]", load_npz, tmp_path / "text.npz")


def test_archived_classes_beyond_int64(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)), y=np.array([1e300, 2e300, 1e300]))
    samples = load_npz(tmp_path / "a.npz")
    assert samples.y.tolist() == [0, 1, 0]
    assert samples.class_names == (str(int(1e300)), str(int(2e300)))


# --- images


@pytest.fixture
def folder(tmp_path):
    """root/ant/*.png of 6x5 pixels and root/bee/*.jpg, in colour; returns (root, the pixels of the ants)."""
    rng, root = np.random.default_rng(0), tmp_path / "root"
    ants = rng.integers(0, 256, (3, 6, 5, 3), np.uint8)
    for kind in ("ant", "bee"):
        (root / kind).mkdir(parents=True)
    for number, pixels in enumerate(ants):
        pillow.fromarray(pixels).save(root / "ant" / f"{number}.png")
    for number in range(2):
        pillow.fromarray(ants[number]).save(root / "bee" / f"{number}.JPG", format="JPEG")
    (root / "notes.txt").write_text("not a class")
    (root / "ant" / "notes.txt").write_text("not an image")
    (root / ".hidden").mkdir()
    return root, ants


def test_a_folder_of_images(folder):
    root, ants = folder
    for samples in (load_images(root), load(root)):
        assert samples.x.shape == (5, 3, 6, 5)
        assert samples.x.dtype == np.float32
        assert samples.x.transpose(0, 2, 3, 1).flags.c_contiguous
        np.testing.assert_array_equal(np.rint(samples.x[:3] * 255), ants.transpose(0, 3, 1, 2))
        assert samples.y.tolist() == [0, 0, 0, 1, 1]
        assert samples.class_names == ("ant", "bee")
    gray = load(root, size=(8, 4), grayscale=True)
    assert gray.x.shape == (5, 1, 8, 4)
    luma = load_images(root, grayscale=True).x[0, 0] * 255
    np.testing.assert_allclose(luma, ants[0] @ [0.299, 0.587, 0.114], atol=1)


def test_a_folder_read_when_asked_for(folder):
    root, ants = folder
    images = datasets.ImageFolder(root, transform=lambda image: image[:, :2])
    assert len(images) == 5
    assert images.classes == ["ant", "bee"]
    assert images.class_to_idx == {"ant": 0, "bee": 1}
    assert images.samples[4] == (root / "bee" / "1.JPG", 1)
    image, label = images[2]
    np.testing.assert_array_equal(np.rint(image * 255), ants[2].transpose(2, 0, 1)[:, :2])
    assert label == 0
    ((x, y),) = rv.data.DataLoader(images, 8, prefetch=1)
    assert x.shape == (5, 3, 2, 5)
    assert y.tolist() == [0, 0, 0, 1, 1]


def test_one_image(folder):
    root, ants = folder
    image = read_image(root / "ant" / "1.png")
    np.testing.assert_array_equal(np.rint(image * 255), ants[1].transpose(2, 0, 1))
    assert read_image(root / "ant" / "1.png", 7, grayscale=True).shape == (1, 7, 7)


def test_images_of_16_bits(tmp_path):
    values = np.array([[0, 255, 256, 30000, 65535]], np.uint16)
    pillow.fromarray(values).save(tmp_path / "i.png")
    found = read_image(tmp_path / "i.png", grayscale=True)[0, 0] * 255
    np.testing.assert_array_equal(np.rint(found), [0, 0, 1, 117, 255])
    assert read_image(tmp_path / "i.png").shape == (3, 1, 5)
    pillow.fromarray(values.astype(np.float32)).save(tmp_path / "f.tif")
    refused(ValueError, "its pixels are beyond 0 to 255", read_image, tmp_path / "f.tif")


def test_a_folder_of_parts_is_no_folder_of_classes(folder):
    root, _ = folder
    for part in ("train", "val"):
        shutil.copytree(root, root.parent / "data" / part)
    refused(ValueError, "train, val, which are no classes; expected", load_images, root.parent / "data")
    assert load_images(root.parent / "data" / "train").class_names == ("ant", "bee")


def test_wrong_folders(folder, tmp_path):
    from PIL import Image

    root, _ = folder
    good = (root / "ant" / "0.png").read_bytes()
    for content in (b"", b"no image", good[: len(good) // 2]):
        (root / "bee" / "broken.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"\[load_images\] '.*broken.png' is broken or no image"):
            load_images(root)
        with pytest.raises(ValueError, match=r"\[ImageFolder\] '.*broken.png' is broken"):
            datasets.ImageFolder(root)[5]
    (root / "bee" / "broken.png").unlink()
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, "PNG")
    (root / "bee" / "large.png").write_bytes(buffer.getvalue())
    refused(ValueError, "large.png' has 9x9 pixels and the images before it 6x5; expected", load_images, root)
    assert load_images(root, size=4).x.shape == (6, 3, 4, 4)
    (root / "cow").mkdir()
    refused(ValueError, "cow' has no images; expected files .bmp", load_images, root)
    (tmp_path / "empty").mkdir()
    refused(ValueError, "has no sub-folders", load_images, tmp_path / "empty")
    refused(FileNotFoundError, "no folder", load_images, tmp_path / "nowhere")
    for size in (0, (3,), (2.5, 3), True):
        refused(ValueError, "expected (height, width) in pixels", load_images, root, size)


def test_without_pillow(tmp_path, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "PIL" or name.startswith("PIL."):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    for read in (load_images, datasets.ImageFolder, read_image, load):
        refused(ImportError, "reading images needs pillow: pip install 'ranvier[images]'", read, tmp_path)


# --- any file


def test_other_endings(tmp_path):
    (tmp_path / "a.xlsx").write_text("x")
    with pytest.raises(ValueError, match=r"\[load\] got '.*a.xlsx'; expected a table"):
        load(tmp_path / "a.xlsx")
    refused(FileNotFoundError, "[load] no file or folder", load, tmp_path / "nowhere.csv")
