"""An op has the same bits at any number of threads, also of arrays that are divided among them."""

from properties.every import every_op
from properties.test_levels import results

WIDTH = 40009  # of the last dimension, which is enough for a team


@every_op({}, only=lambda op: op.any_size)
def test_threads(sample, threads):
    one, *others = [bits_at(sample.op.drawn(WIDTH)[sample.number], threads, count) for count in (1, 2, 3)]
    assert all(bits == one for bits in others)


def bits_at(sample, threads, count):
    threads(count)
    found, _ = results(sample.tensors("float32"))
    return [y.tobytes() for y in found if y is not None]
