"""Fixtures of commands that run in the process of the tests."""

import pytest
from ranvier import cli


@pytest.fixture
def works(capsys):
    """A function of a command that has to end with code 0: what it printed, as (out, err)."""

    def printed(*arguments):
        assert cli.main([str(argument) for argument in arguments]) == 0, arguments
        return capsys.readouterr()

    return printed


@pytest.fixture
def refused(capsys):
    """A function of a command that has to end with code 1 and one line, after notes at most: the message."""

    def message(*arguments):
        assert cli.main([str(argument) for argument in arguments]) == 1, arguments
        *notes, error = capsys.readouterr().err.splitlines()
        assert error.startswith("ranvier: error: "), (notes, error)
        assert all(note.startswith("ranvier: columns ") for note in notes), notes
        return error.removeprefix("ranvier: error: ")

    return message


@pytest.fixture(autouse=True)
def threads_kept(threads):
    """A command sets the thread count for its process: each test gives it back."""
