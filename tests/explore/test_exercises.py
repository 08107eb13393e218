"""Exercises: right answers worked out by hand are right, known mistakes are named, all else has a hint."""

import math

import numpy as np
import pytest
from ranvier.explore import exercises
from support.grouped import grouped

E = math.e
BY_HAND = {  # the numbers as one finds them with paper and a calculator
    1: 0.8 - 0.6 + 1.0 + 0.5,
    2: 1 / (1 + math.exp(-1.7)),
    3: [1, 1, -1.5],
    4: [[1, 1, -0.5], [1, 1, -1.5], [1, -2, -0.5]],
    5: [E / (E + E**2 + E**3), E**2 / (E + E**2 + E**3), E**3 / (E + E**2 + E**3)],
    6: E / (1 + E) ** 2,
    7: 4 * 5 + 5 + 5 * 3 + 3 + 3 * 2 + 2,
    8: -(math.log(0.9) + math.log(0.8) + math.log(0.4)) / 3,
    9: [12, -24],
    10: [1.4, 0.2],
    11: 16 * 6 * 6,
    12: [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]],
    13: 16 * 5,
    14: "overfitting",
    15: 0.1,
    16: [6, -2],
}


def test_every_exercise_is_here():
    assert sorted(BY_HAND) == list(range(1, len(exercises.list()) + 1))
    assert exercises.list()[2] == "3. A neuron that computes AND"


@pytest.mark.parametrize("number", BY_HAND)
def test_the_right_answer(number):
    checked = exercises.check(number, BY_HAND[number])
    assert checked, checked.said
    assert str(checked) == "Right."


@grouped("number", BY_HAND)
@pytest.mark.parametrize("answer", [-123.456, [1, 2], "no idea", None, [[1, 2], [3]], math.nan])
def test_a_wrong_answer_gets_a_hint(number, answer):
    checked = exercises.check(number, answer)
    assert not checked
    assert checked.said.startswith("Not yet")
    assert checked.said.endswith(f"Hint: {exercises.EXERCISES[number - 1].hint}.")


@pytest.mark.parametrize("number", [n for n, e in enumerate(exercises.EXERCISES, 1) if e.shape is None])
def test_known_mistakes_are_wrong_and_named(number):
    right, mistakes = exercises.EXERCISES[number - 1].answer()
    assert mistakes
    for value, what in mistakes:
        assert f"that is {what}" in exercises.check(number, value).said
    assert exercises.check(number, right)


@pytest.mark.parametrize(
    ("number", "answer", "said"),
    [
        (3, [1, 1, 0], "for 0 and 1 it gives 1; for 1 and 0 it gives 1"),
        (3, [1, 1], "expected numbers of shape (3,)"),
        (3, [0, 0, 0], "for 1 and 1 it gives 0"),
        (4, [[1, 1, -0.5], [1, 1, -1.5], [1, 1, -0.5]], "for 1 and 1 it gives 1"),
        (12, np.ones((3, 3)), "it answers to an even image"),
        (12, [[-1, -1, -1], [0, 0, 0], [1, 1, 1]], "does not answer to the upright edge"),
        (12, [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], "it answers to a level edge"),
        (5, 0.5, "expected 3 numbers"),
        (7, [51], "expected a number"),
        (14, 3, "expected a word"),
        (14, "underfitting", "validation loss rose from 0.55 (epoch 3)"),
    ],
)
def test_what_is_wrong_is_said(number, answer, said):
    assert said in exercises.check(number, answer).said


def test_any_answer_that_works_is_right():
    assert exercises.check(3, [20, 20, -30])
    assert exercises.check(
        4, np.array([[1, -1, 0], [-1, 1, 0], [1, 1, 0]])
    )  # "one more than the other", both ways
    assert exercises.check(12, [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    assert exercises.check(14, " Overfitting ")


def test_counts_are_exact_and_other_numbers_to_three_digits():
    assert not exercises.check(7, 51.01)
    assert exercises.check(2, 0.8455)
    assert exercises.check(2, 0.846)
    assert not exercises.check(2, 0.85)


def test_show_and_numbers(capsys):
    exercises.show(13)
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == "13. Updates"
    assert "1,000 samples" in printed
    for number in (0, 17, "1"):
        with pytest.raises(ValueError, match=r"\[exercises\] got .* expected a number from 1 to 16"):
            exercises.check(number, 1)
