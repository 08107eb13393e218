"""Calls that samples say are refused raise this error, with this text."""

import re

import pytest
import ranvier as rv

from properties.every import every_op


@every_op(
    {}, only=lambda op: len(op.all_samples) > len(op.samples), of=lambda sample: sample.error is not None
)
def test_refused(sample):
    with pytest.raises(sample.error, match=re.escape(sample.text)):
        sample.tensors(rv.float32)()
