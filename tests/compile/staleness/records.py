"""Records and enumerations that the texts of rows name: made anew only where a text names one (`rows.py`)."""

import collections
import dataclasses
import enum
import typing

Color, Level = enum.Enum("Color", "RED GREEN"), enum.IntEnum("Level", "ONE TWO")
Rate, Bits = enum.Enum("Rate", {"LOW": 1.0, "HIGH": 2.0}), enum.Flag("Bits", "A B")


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
class Output(collections.OrderedDict):
    y: object = None
    more: object = None

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if self.__dict__.get(field.name) is not None:
                self[field.name] = getattr(self, field.name)


class Named(typing.NamedTuple):
    value: float = 1.0


@dataclasses.dataclass
class Late:
    loss: object
    norm: object = dataclasses.field(init=False)


@dataclasses.dataclass
class Given:
    loss: object
    scale: dataclasses.InitVar[float]
    scaled: object = None

    def __post_init__(self, scale):
        self.scaled = self.loss * scale


@dataclasses.dataclass
class Closed:
    loss: object

    def __getstate__(self):
        raise TypeError("not to be pickled")


class Doubled(collections.namedtuple("Doubled", "first second")):
    def __new__(cls, x):
        return super().__new__(cls, x, 3.0)


Row, Bag = type("Row", (tuple,), {}), type("Bag", (dict,), {})


def record_with(factory):
    @dataclasses.dataclass
    class Made:
        more: float = dataclasses.field(default_factory=factory)

    return Made
