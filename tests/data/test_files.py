"""Samples from files: archives of NumPy, folders of images, Parquet; what `load` makes of each, and errors
that say what is wrong. Tables in text: test_tables.py."""

import importlib
import io
import shutil
import sys
import zipfile
from io import StringIO
from pathlib import Path

import numpy as np
import PIL.Image as pillow
import pytest
from ranvier.data import load
from ranvier.data.datasets import load_csv, load_images, load_npz, read_image
from ranvier.data.vision import datasets as vision
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
    words = archive(x=x, y=np.array(["p", "q", "p"]))
    refused(ValueError, "has words in 'y', such as 'p'; expected numbers", load_npz, words, task="regression")
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
        message = r"\[load_npz\] '.*' is (a zip|(damaged or )?no a|damaged|empty)"
        with pytest.raises(ValueError, match=message):
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


def test_one_image(folder):
    root, ants = folder
    image = read_image(root / "ant" / "1.png")
    np.testing.assert_array_equal(np.rint(image * 255), ants[1].transpose(2, 0, 1))
    assert read_image(root / "ant" / "1.png", 7, grayscale=True).shape == (1, 7, 7)


def upright_readers(path):
    """The array that each reader returns for one image in a folder of classes, (c, h, w) of levels."""
    levels = [read_image(path), load(path.parent.parent).x[0]]
    found = vision.ImageFolder(str(path.parent.parent))[0][0]
    return [np.rint(x * 255) for x in levels] + [np.moveaxis(np.asarray(found, float), -1, 0)]


STORED = {  # an upright array as each EXIF orientation stores it: where row 0 and column 0 are
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[:, ::-1],
    9: lambda a: a,  # not defined
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    ("mode", "ending"),
    [
        ("I;16", "png"),
        ("I;16", "tiff"),
        *((m, e) for m in ("RGB", "L") for e in ("png", "tiff", "webp", "jpg")),
    ],
)
def test_images_are_upright(mode, ending, orientation, tmp_path):
    (tmp_path / "a").mkdir()
    upright = np.kron(np.random.default_rng(0).integers(0, 2, (2, 3)), np.full((8, 8), 255)).astype(np.uint8)
    stored = np.ascontiguousarray(STORED[orientation](upright))
    image = pillow.fromarray(stored * np.uint16(257) if mode == "I;16" else stored)
    exif = pillow.Exif()
    exif[274] = orientation
    path = tmp_path / "a" / f"0.{ending}"
    image.convert(mode).save(path, exif=exif, **{"lossless": True} if ending == "webp" else {})
    for found in upright_readers(path):
        np.testing.assert_allclose(found, np.broadcast_to(upright, (3, 16, 24)), atol=5 * (ending == "jpg"))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff", b"\xff" * 20])
def test_broken_exif_data_are_ignored(exif, tmp_path):
    (tmp_path / "a").mkdir()
    for ending in ("jpg", "png", "webp"):
        path = tmp_path / "a" / f"0.{ending}"
        pillow.new("RGB", (3, 2), "white").save(path, exif=exif)
        for found in upright_readers(path):
            np.testing.assert_array_equal(found, np.full((3, 2, 3), 255))
        path.unlink()


COLOURS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]]], np.uint8)


@pytest.mark.parametrize(
    ("mode", "ending", "options"),
    [
        ("RGBA", "png", {}), ("P", "png", {}), ("P", "png", {"transparency": 0}),
        ("P", "png", {"transparency": bytes([0, 9])}), ("RGB", "png", {"transparency": (255, 0, 0)}),
        ("CMYK", "tiff", {}), ("RGBA", "webp", {"lossless": True, "exact": True}),
    ],
)  # fmt: skip
def test_images_of_other_modes(mode, ending, options, tmp_path):
    (tmp_path / "a").mkdir()
    image = pillow.fromarray(COLOURS)
    image = image.quantize(8) if mode == "P" else image.convert(mode)
    if mode == "RGBA":
        image.putalpha(pillow.fromarray(np.array([[0, 99, 255, 1, 2]], np.uint8)))  # transparency is left out
    image.save(tmp_path / "a" / f"0.{ending}", **options)
    for found in upright_readers(tmp_path / "a" / f"0.{ending}"):
        np.testing.assert_array_equal(found, np.moveaxis(COLOURS, -1, 0))


def test_images_of_more_than_8_bits(tmp_path):
    values = np.array([[0, 255, 256, 30000, 65535]], np.uint16)
    (tmp_path / "a").mkdir()
    for ending in ("png", "tiff", "pgm"):
        path = tmp_path / "a" / f"i.{ending}"
        pillow.fromarray(values).save(path)
        for found in upright_readers(path):
            np.testing.assert_array_equal(found, np.broadcast_to([0, 0, 1, 117, 255], (3, 1, 5)))
        path.unlink()
    for wrong in (values.astype(np.float32), np.float32([[0.0, 0.5, 1.0]]), np.int32([[-1, 3]])):
        pillow.fromarray(wrong).save(tmp_path / "a" / "f.tif")
        for read in (lambda: read_image(tmp_path / "a" / "f.tif"), lambda: vision.ImageFolder(tmp_path)[0]):
            refused(ValueError, "its pixels are not 0, 1 ... 255; expected 8 or 16 bits", read)


def test_files_in_folders_of_a_class(folder, tmp_path):
    """Links to folders are followed, but not in a circle; hidden folders, as of Jupyter, have copies."""
    root, _ = folder
    (tmp_path / "more").mkdir()
    image = (root / "ant" / "0.png").rename(tmp_path / "more" / "0.png")
    (root / "ant" / ".ipynb_checkpoints").mkdir()
    shutil.copy(image, root / "ant" / ".ipynb_checkpoints" / "0-checkpoint.png")
    (root / "ant" / "link").symlink_to(tmp_path / "more")
    (root / "ant" / "self").symlink_to(root / "ant")
    names = [Path(file).relative_to(root).as_posix() for file in load_images(root).files]
    assert [name for name in names if "-" in name or "0.png" in name] == ["ant/link/0.png"]


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
    for size in (0, (3, -1), (1, 2, 3)):
        refused(ValueError, "[load_images] got size", load_images, root, size)
    for size in ((2.5, 3), True):
        refused(TypeError, "expected a whole number", load_images, root, size)


def test_without_pillow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    for read in (load_images, read_image, load):
        refused(ImportError, "images need pillow: pip install 'ranvier[images]'", read, tmp_path)


# --- any file


def test_other_endings(tmp_path):
    (tmp_path / "a.xlsx").write_text("x")
    message = r"\[load\] got '.*a.xlsx'; expected a table.*or a frame, as of pandas.read_excel"
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "a.xlsx")
    refused(FileNotFoundError, "[load] no file or folder", load, tmp_path / "nowhere.csv")


# Tables in Parquet files and in arrays, and the packages that they need.


PETS = "weight,height,kind\n4.5,25,cat\n30,60,dog\n5,24,cat\n"


def test_columns_of_parquet_files(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    frame = pandas.DataFrame({"id": [3, 4], "size": [1.5, 2.5], "kind": ["a", "b"]})
    frame.set_index("id").to_parquet(tmp_path / "t.parquet")
    found = load_csv(tmp_path / "t.parquet")
    assert (found.feature_names, found.x.tolist()) == (("id", "size"), [[3, 1.5], [4, 2.5]])


CELLS = {  # columns of a table, and what the error says
    "lists": ({"f": [[1.0, 2.0], [3.0, 4.0]], "y": [0, 1]}, "column 'f' holds ndarray, such as '[1. 2.]'"),
    "structs": ({"f": [None, {"a": 1}], "y": [0, 1]}, "column 'f' holds dict"),
    "bytes": ({"f": [b"a", b"b"], "y": [0, 1]}, "without=['f'] leaves the column out"),
    "levels": ({("a", "0"): [1, 2], ("a", "1"): [1, 2]}, "names of 2 levels, such as ('a', '0'); expected"),
}


@pytest.mark.parametrize("kind", CELLS)
def test_cells_of_other_kinds(kind, tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    columns, message = CELLS[kind]
    pandas.DataFrame(columns).to_parquet(tmp_path / "t.parquet")
    refused(ValueError, message, load, tmp_path / "t.parquet", categories=True)
    refused(ValueError, "a folder of Parquet files; expected one file", load, tmp_path)
    if kind != "levels":
        refused(ValueError, "no columns beside the label", load, tmp_path / "t.parquet", without=["f"])


def test_texts_and_names_of_parquet_files(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    pandas.DataFrame({"f": [1.5, 2], "y": ["a\rb", 'c,"\nd']}).to_parquet(tmp_path / "t.parquet")
    assert load(tmp_path / "t.parquet").class_names == ("a\rb", 'c,"\nd')
    columns = arrow.Table.from_arrays([arrow.array([1, 2])] * 2, ["f", "f"])
    importlib.import_module("pyarrow.parquet").write_table(columns, tmp_path / "t.parquet")
    refused(ValueError, "has columns of the same name", load, tmp_path / "t.parquet")


@pytest.mark.parametrize("what", [StringIO("1,2"), None, {"a": [1]}], ids=["file", "None", "dict"])
def test_paths_that_are_none(what):
    for read in (load, load_csv, load_npz, load_images):
        refused(TypeError, f"got {type(what).__name__}; expected the path of a file or folder", read, what)
    refused(FileNotFoundError, "download it first", load, "https://example.org/t.csv")


def test_arrays_and_parquet_files(tmp_path, monkeypatch):
    np.save(tmp_path / "t.npy", np.array([[1.5, 2, 0], [3, 4, 1]]))
    found = load(tmp_path / "t.npy")
    assert (found.x.tolist(), found.class_names) == ([[1.5, 2], [3, 4]], ("0", "1"))
    assert load(tmp_path / "t.npy", None).x.shape == (2, 3)
    assert load(tmp_path / "t.npy", 0, task="regression").y.tolist() == [1.5, 3]
    np.save(tmp_path / "t.npy", np.zeros((2, 3, 4)))
    refused(ValueError, "expected (n, columns) with the targets in column -1", load, tmp_path / "t.npy")
    (tmp_path / "t.parquet").write_bytes(b"PAR1")

    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    monkeypatch.setattr(pandas, "read_parquet", lambda path: pandas.read_csv(StringIO(PETS)))
    assert load(tmp_path / "t.parquet").class_names == ("cat", "dog")
    monkeypatch.setattr(pandas, "read_parquet", lambda path: pandas.DataFrame({"0": [0, 1], "1": [0, 1]}))
    assert load(tmp_path / "t.parquet").feature_names == ("0",)

    def refuse(path):
        raise ImportError("no engine")

    monkeypatch.setattr(pandas, "read_parquet", refuse)
    refused(ImportError, "pip install 'ranvier[tables]' pyarrow (no engine)", load, tmp_path / "t.parquet")
    monkeypatch.setitem(sys.modules, "pandas", None)
    refused(ImportError, "pip install 'ranvier[tables]'", load, tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text(PETS)
    refused(ImportError, "pip install 'ranvier[tables]'", load, tmp_path / "t.csv")
    assert load(tmp_path / "t.npy", None).x.shape == (2, 3, 4)  # arrays need no pandas
