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


@dataclasses.dataclass
class Doubled:
    base: float = 1.0

    @property
    def value(self):
        return self.base * 2

    def both(self):
        return [self.value, self.value * 2]


class Named(typing.NamedTuple):
    value: float = 1.0
