"""Records that the texts of rows name: dataclasses are made anew only where a text names one (`rows.py`)."""

import dataclasses
import typing


@dataclasses.dataclass
class Settings:
    value: object = None
    more: list = dataclasses.field(default_factory=lambda: [1.0, 2.0])


@dataclasses.dataclass(frozen=True)
class Frozen:
    value: object = None


@dataclasses.dataclass(slots=True)
class SlottedSettings:
    value: float = 1.0


class Named(typing.NamedTuple):
    value: float = 1.0


def record_with(factory):
    @dataclasses.dataclass
    class Made:
        more: float = dataclasses.field(default_factory=factory)

    return Made
