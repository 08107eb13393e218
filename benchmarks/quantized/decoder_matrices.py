"""The matrices of a layer of the language model, for all libraries that get its weights."""

from benchmarks.training.decoder import HEAD, INNER, SHARED, WIDTH

KEYS = SHARED * HEAD
MATRICES = {
    "attention.q": (WIDTH, WIDTH),
    "attention.k": (KEYS, WIDTH),
    "attention.v": (KEYS, WIDTH),
    "attention.out": (WIDTH, WIDTH),
    "gate": (INNER, WIDTH),
    "up": (INNER, WIDTH),
    "down": (WIDTH, INNER),
}
