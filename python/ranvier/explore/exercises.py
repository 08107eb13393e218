"""Exercises with checked answers: `list()`, `show(n)`, `check(n, answer)`.

The library computes all answers, also those of known mistakes.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, MutableSequence, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import ranvier.nn as nn
import ranvier.ops as ops
from ranvier import derivative
from ranvier.explore.depth import gradients
from ranvier.explore.filters import filter_image
from ranvier.explore.fit import judge_fit
from ranvier.explore.perceptron import collapse
from ranvier.explore.search import Array
from ranvier.explore.size import count_steps, one_step
from ranvier.optim import SGD

__all__ = ["Checked", "check", "list", "show"]

Mistakes = Sequence[tuple[Any, str]]
Answer = Callable[..., Any]
Shape = tuple[int, ...] | None


class Exercise(NamedTuple):
    """A question with one answer and known mistakes, or, with a shape, with many answers.

    answer: returns a number, a list of numbers or a word, and (value, name) of each known mistake; with a
        shape the mistake of the answer that it gets, an array; "" for a right one.
    """

    title: str
    question: str
    hint: str
    answer: Answer
    shape: Shape


def _number(tensor: Any) -> float:
    return float(tensor.item())


def _exercise(title: str, question: str, hint: str, shape: Shape = None) -> Callable[[Answer], Answer]:
    """Registers an exercise with its answer."""

    def register(answer: Answer) -> Answer:
        EXERCISES.append(Exercise(title, question, hint, answer, shape))
        return answer

    return register


EXERCISES: MutableSequence[Exercise] = []
PAIRS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
W, B, X = np.array([0.4, -0.2, 0.1]), 0.5, np.array([2.0, 3.0, 10.0])


@_exercise(
    "A weighted sum",
    "A neuron has the weights 0.4, -0.2 and 0.1 and the bias 0.5. What is its weighted sum for the inputs "
    "2, 3 and 10?",
    "multiply each input by its weight, add all up, and the bias",
)
def _weighted_sum() -> tuple[Any, Mistakes]:
    z = _number(ops.linear(X[None], W[None], np.array([B])))
    return z, [(z - B, "the sum without the bias"), (X.sum() + B, "the sum without the weights")]


@_exercise(
    "A probability",
    "The neuron of exercise 1 has a sigmoid. What does it give for the same inputs?",
    "1 / (1 + exp(-z)) of the weighted sum z",
)
def _probability() -> tuple[Any, Mistakes]:
    z = np.array(_weighted_sum()[0])
    return _number(ops.sigmoid(z)), [
        (float(z), "the weighted sum: the activation is still to come"),
        (_number(ops.tanh(z)), "tanh of it"),
        (_number(ops.sigmoid(z - B)), "it without the bias"),
    ]


def _wrong_rows(y: Any, wanted: Sequence[int]) -> str:
    rows = zip(PAIRS, y._array[:, 0], wanted, strict=True)
    return "; ".join(f"for {a:g} and {b:g} it gives {out:g}" for (a, b), out, right in rows if out != right)


@_exercise(
    "A neuron that computes AND",
    "Give [w1, w2, b] of a neuron that gives 1 where w1 x1 + w2 x2 + b > 0 and 0 elsewhere, such that it "
    "gives x1 AND x2 for inputs of 0 and 1.",
    "both inputs together must get over the bias, one alone must not",
    shape=(3,),
)
def _and(answer: Array) -> str:
    return _wrong_rows(ops.heaviside(ops.linear(PAIRS, answer[None, :2], answer[2:]), 0), (0, 0, 0, 1))


@_exercise(
    "Three neurons that compute XOR",
    "One such neuron cannot compute XOR (1 where exactly one input is 1), three can: give three rows [w1, "
    "w2, b], of two neurons that see the inputs and of a third that sees those two.",
    "let one neuron compute OR, the other AND, and the third: the first, but not the second",
    shape=(3, 3),
)
def _xor(answer: Array) -> str:
    hidden = ops.heaviside(ops.linear(PAIRS, answer[:2, :2], answer[:2, 2]), 0)
    return _wrong_rows(ops.heaviside(ops.linear(hidden, answer[2:, :2], answer[2:, 2]), 0), (0, 1, 1, 0))


@_exercise(
    "Softmax",
    "Which probabilities does softmax make of the scores 1, 2 and 3?",
    "exp of each score, divided by the sum of all three",
)
def _softmax() -> tuple[Any, Mistakes]:
    z = np.array([1.0, 2.0, 3.0])
    shares, sigmoids = z / z.sum(), ops.sigmoid(z)._array
    mistakes = [(shares, "the share of each score, without the exponential")]
    return ops.softmax(z, 0)._array, [
        *mistakes,
        (sigmoids, "the sigmoid of each: the three must add up to 1"),
    ]


@_exercise("The slope of the sigmoid", "What is the derivative of the sigmoid at z = 1?", "s(z) (1 - s(z))")
def _slope_of_sigmoid() -> tuple[Any, Mistakes]:
    s = _number(ops.sigmoid(np.array(1.0)))
    return _number(derivative("sigmoid", np.array(1.0))), [
        (s, "the sigmoid itself"),
        (1 - s, "1 - s(z): it is still to be multiplied by s(z)"),
        (_number(derivative("tanh", np.array(1.0))), "the slope of tanh"),
    ]


@_exercise(
    "Parameters",
    "A network has 4 inputs, hidden layers of 5 and 3 neurons, and 2 outputs. How many parameters?",
    "a layer has a weight for each pair of an input and a neuron, and a bias for each neuron",
)
def _parameters() -> tuple[Any, Mistakes]:
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise((4, 5, 3, 2))]
    weights = sum(layer.weight.numel() for layer in layers)
    count = sum(p.numel() for layer in layers for p in layer.parameters())
    return count, [(weights, "the weights without the biases"), (count + 4, "with biases for the inputs too")]


@_exercise(
    "Cross-entropy",
    "The probabilities 0.9, 0.2 and 0.6 were predicted where the classes were 1, 0 and 0. What is the "
    "binary cross-entropy?",
    "the mean of -ln of the probability that the true class was given: 0.9, 0.8 and 0.4",
)
def _cross_entropy() -> tuple[Any, Mistakes]:
    p, t = np.array([0.9, 0.2, 0.6]), np.array([1.0, 0.0, 0.0])
    loss = _number(ops.bce(p, t))
    return loss, [
        (loss * len(p), "the sum: the loss is the mean"),
        (_number(ops.mse(p, t)), "the mean squared error"),
        (loss / np.log(2), "in bits: the logarithm is the natural one"),
        (-loss, "negative: the logarithm of a probability is, its loss is not"),
    ]


def _chain() -> nn.Sequential:
    w, v = (nn.Linear(1, 1, bias=False, dtype=np.float64) for _ in range(2))
    w.weight.data.fill_(2.0)
    v.weight.data.fill_(-1.0)
    return nn.Sequential(w, nn.ReLU(), v)


@_exercise(
    "The chain rule",
    "x = 3 goes through a weight w = 2, ReLU and a weight v = -1 (no biases); the target is -4, the loss "
    "the squared error. Give [dloss/dw, dloss/dv].",
    "dloss/doutput = 2 (output - target); times the hidden value for v; times v, ReLU's slope and x for w",
)
def _slopes() -> tuple[Any, Mistakes]:
    measured = gradients(_chain(), nn.MSELoss(), [[3.0]], [[-4.0]])
    slopes = np.array([_number(measured[name].gradient) for name in ("0.weight", "2.weight")])
    return slopes, [
        (slopes / 2, "without the 2 of the square's slope"),
        (-slopes, "with the wrong sign: the error is output - target"),
        (slopes[::-1], "in the wrong order: first w, then v"),
    ]


@_exercise(
    "One step",
    "Take one step of gradient descent in exercise 9 with a learning rate of 0.05. Give the new [w, v].",
    "w - 0.05 dloss/dw, and the same for v",
)
def _stepped() -> tuple[Any, Mistakes]:
    model = _chain()
    before = np.array([_number(layer.weight) for layer in (model[0], model[2])])
    one_step(model, nn.MSELoss(), SGD(model.parameters(), lr=0.05), [[3.0]], [[-4.0]])
    after = np.array([_number(layer.weight) for layer in (model[0], model[2])])
    return after, [(2 * before - after, "a step up the slope"), (after - before, "the change alone")]


def _features(padding: int = 1, first: int = 0) -> int:
    block = (nn.Conv2d(1, 8, 3, padding=first), nn.MaxPool2d(2))
    network = nn.Sequential(*block, nn.Conv2d(8, 16, 3, padding=padding), nn.MaxPool2d(2), nn.Flatten())
    return int(network(np.zeros((1, 1, 28, 28), np.float32)).shape[1])


@_exercise(
    "From an image to features",
    "A 28x28 image of one channel goes through a 3x3 convolution to 8 channels (no padding), 2x2 max- "
    "pooling, a 3x3 convolution to 16 channels with padding 1, and 2x2 max-pooling. How many numbers does "
    "Flatten give?",
    "28 - 3 + 1 = 26, halved; padding 1 keeps the size; halved and rounded down; times the channels",
)
def _image_sizes() -> tuple[Any, Mistakes]:
    return _features(), [
        (_features(padding=0), "it without the padding of the second convolution"),
        (_features(first=1), "it with padding in the first convolution as well"),
        (_features() // 16, "one channel: there are 16"),
    ]


@_exercise(
    "A kernel for upright edges",
    "Give a 3x3 kernel that answers to a step from 0 to 1 between two columns by at least 0.5, and not at "
    "all to an even image or to a step between two rows.",
    "each row must add up to 0, and the columns must differ",
    shape=(3, 3),
)
def _upright(answer: Array) -> str:
    upright = np.repeat([[0.0, 0, 0, 1, 1, 1]], 6, axis=0)
    if np.abs(filter_image(upright, answer)).max() < 0.5:
        return "it does not answer to the upright edge by 0.5 or more"
    others = (("an even image", np.ones((6, 6))), ("a level edge", upright.T))
    wrong = [name for name, image in others if np.abs(filter_image(image, answer)).max() > 1e-6]
    return f"it answers to {' and to '.join(wrong)}" if wrong else ""


@_exercise(
    "Updates",
    "1,000 samples in batches of 64 for 5 epochs: how many updates of the weights?",
    "the last batch of an epoch is a smaller one, and counts",
)
def _updates() -> tuple[Any, Mistakes]:
    counted, short = count_steps(1000, 64, 5), count_steps(1000, 64, 5, drop_last=True)
    return counted.updates, [
        (short.updates, "it without the last, smaller batch"),
        (counted.batches, "one epoch's"),
        (5000, "one for each sample: an update is made for each batch"),
    ]


@_exercise(
    "Reading curves",
    "Training loss: 1.1, 0.6, 0.35, 0.2, 0.1, 0.05. Validation loss: 1.1, 0.7, 0.55, 0.6, 0.75, 0.95. "
    "Underfitting, good or overfitting?",
    "watch what validation loss does while training loss falls",
)
def _verdict() -> tuple[Any, Mistakes]:
    loss, valid = [1.1, 0.6, 0.35, 0.2, 0.1, 0.05], [1.1, 0.7, 0.55, 0.6, 0.75, 0.95]
    judgement = judge_fit({"loss": loss, "val_loss": valid})
    said = f"not what the curves say: {judgement.reasons[0]}"
    return judgement.verdict, [(word, said) for word in ("underfitting", "good") if word != judgement.verdict]


@_exercise(
    "Starting weights",
    "Which standard deviation does He's initialisation give the weights of a layer of 200 inputs before a "
    "ReLU?",
    "ReLU lets half of the variance through, so that a weight's variance is 2 / inputs",
)
def _spread() -> tuple[Any, Mistakes]:
    relu, plain = (nn.init.calculate_gain(name) / 200**0.5 for name in ("relu", "linear"))
    return relu, [
        (relu**2, "the variance: the question is about its root"),
        (plain, "that for a layer without ReLU, which lets the whole variance through"),
    ]


@_exercise(
    "Two layers that are one",
    "h = 3 x + 1 and y = 2 h - 4, without an activation between. Give [weight, bias] of the one layer "
    "that computes y from x.",
    "put the first into the second: 2 (3 x + 1) - 4",
)
def _one_layer() -> tuple[Any, Mistakes]:
    stack = nn.Sequential(nn.Linear(1, 1, dtype=np.float64), nn.Linear(1, 1, dtype=np.float64))
    for p, value in zip(stack.parameters(), (3.0, 1.0, 2.0, -4.0), strict=True):
        p.data.fill_(value)
    one = collapse(stack).layer
    w, b = _number(one.weight), _number(one.bias)
    return [w, b], [([w, -3.0], "with the first bias not multiplied by 2"), ([5.0, b], "weights added up")]


class Checked(NamedTuple):
    """Whether an answer is right (also its truth value), and the text to print."""

    right: bool
    said: str

    def __bool__(self) -> bool:
        return self.right

    def __str__(self) -> str:
        return self.said


def list() -> Sequence[str]:
    """The titles, numbered from 1.

    >>> from ranvier.explore import exercises
    >>> exercises.list()[0]
    '1. A weighted sum'
    """
    return [f"{i}. {exercise.title}" for i, exercise in enumerate(EXERCISES, 1)]


def show(number: int) -> None:
    """Print a question.

    Raises ValueError: no exercise with that number.

    >>> from ranvier.explore import exercises
    >>> exercises.show(6)
    6. The slope of the sigmoid
    What is the derivative of the sigmoid at z = 1?
    """
    exercise = _numbered(number)
    print(f"{number}. {exercise.title}\n{textwrap.fill(exercise.question, 90)}")


def check(number: int, answer: Any) -> Checked:
    """Check an answer; for a wrong one, return the mistake, if it is a known one, and a hint.

    Args:
        number: of the exercise.
        answer: a number (to three digits), numbers in a list or array, or a word, as the question asks.

    Raises ValueError: no exercise with that number.

    >>> from ranvier.explore import exercises
    >>> print(exercises.check(13, 75))
    Not yet: that is it without the last, smaller batch. Hint: the last batch of an epoch is a smaller one, \
and counts.
    >>> print(exercises.check(13, 80))
    Right.
    """
    exercise = _numbered(number)
    if (wrong := _wrong(exercise, answer)) is None:
        return Checked(True, "Right.")
    return Checked(False, f"Not yet{': ' if wrong else ''}{wrong}. Hint: {exercise.hint}.")


def _numbered(number: int) -> Exercise:
    if not isinstance(number, int) or not 1 <= number <= len(EXERCISES):
        raise ValueError(f"[exercises] got {number!r}; expected a number from 1 to {len(EXERCISES)}")
    return EXERCISES[number - 1]


def _wrong(exercise: Exercise, answer: Any) -> str | None:
    """The mistake, "" for an unknown one, None for a right answer."""
    numbers = _numbers(answer)
    if exercise.shape is not None:
        if numbers is None or numbers.shape != exercise.shape or not np.isfinite(numbers).all():
            return f"expected numbers of shape {exercise.shape}"
        return exercise.answer(numbers) or None
    wanted, mistakes = exercise.answer()
    if _same(answer, wanted):
        return None
    if isinstance(wanted, str) and not isinstance(answer, str):
        return "expected a word"
    if not isinstance(wanted, str) and (numbers is None or numbers.shape != np.shape(wanted)):
        return f"expected {'a number' if np.shape(wanted) == () else f'{len(wanted)} numbers'}"
    return next((f"that is {what}" for value, what in mistakes if _same(answer, value)), "")


def _numbers(answer: Any) -> npt.NDArray[np.float64] | None:
    try:
        return np.asarray(getattr(answer, "_array", answer), np.float64)
    except (TypeError, ValueError):
        return None


def _same(answer: Any, wanted: Any) -> bool:
    """Compares words without case, integers exactly, other numbers to three digits."""
    if isinstance(wanted, str):
        return isinstance(answer, str) and answer.strip().lower() == wanted
    numbers, exact = _numbers(answer), np.asarray(wanted)
    if numbers is None or numbers.shape != exact.shape:
        return False
    loose = 0.0 if exact.dtype.kind in "iu" else 1e-3
    return bool(np.allclose(numbers, exact, rtol=loose, atol=loose / 2))
