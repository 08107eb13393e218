"""Random pickles, of which half are such as PyTorch writes: the bytes of pickle's operations in random order,
for forger.py, which looks at what reading them does.
"""

import pickle
import struct

from ranvier.torch.files.values import KNOWN

ODD = [0, 1, 2, 7, 255, 256, 2**16, 2**20, 2**31 - 1, 2**31, 2**40, 2**63 - 1, 2**63, 2**70, -1, -(2**63)]
TEXTS = ["", "a", "x.y", "data", "weight", "0", "é" * 40]
TEXTS += ["\x1b[2J", "\u202ea", "__array_interface__", "__class__"]


def text(value):
    """The operation that pushes a text."""
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number_of(value):
    """The operation that pushes a whole number."""
    raw = pickle.encode_long(value)
    return b"\x8b" + struct.pack("<i", len(raw)) + raw


def name(path):
    """The operation that pushes what this path names."""
    return f"c{path.rpartition('.')[0]}\n{path.rpartition('.')[2]}\n".encode()


NAMES = [name(path) for path in KNOWN]
HOOKS = name("collections.OrderedDict") + b")R"
STORAGE = b"(X\x07\0\0\0storagectorch\n%sStorage\nX\1\0\0\0%dX\3\0\0\0cpuK\x04"
STORAGES = [STORAGE % kind for kind in ((b"Float", 4), (b"Bool", 1), (b"Long", 8), (b"Untyped", 1))]
PLACE = b"K\0K\4\x85K\1\x85\x89"
OPERATIONS = [bytes([code]) for code in b"(tldeasuRb201Q]})\x85\x86\x87\x81\x8f\x90\x91\x94N\x88\x89\x93"]
OPERATIONS += [b"h\0", b"h\1", b"h\2", b"q\0", b"q\1", b"q\2"]  # the memo
OPERATIONS += [b"K\x05", b"C\x02ab", b"]h\0h\0e", b"h\0h\0\x86q\0"]
OPERATIONS += [b"h\0\x85R", b"h\0)R", b"h\0Ns", b"(h\0h\0tq\0", HOOKS, PLACE + HOOKS + b"tR"]
WRAPS = [b"h%c\x85", b"h%ch%c\x86", b"](h%ch%ce", b"}h%cNs", b"}K\0h%cs"]  # what holds a value of the memo
WRAPS += [name("builtins.set") + b"h%c\x85\x85R", name("collections.defaultdict") + b")RK\0h%cs"]
TENSOR, BYTES = name("torch._utils._rebuild_tensor_v2"), name("torch._utils._rebuild_tensor_v3")
PARAMETER = name("torch._utils._rebuild_parameter_with_state")
TYPED, CLASS = name("torch._tensor._rebuild_from_type_v2"), name("torch.Tensor")


def pickled(rng, end=b"tQ"):
    """A random pickle; end: what follows the description of a storage."""
    content = b"\x80\x02"
    if rng.random() < 0.8:
        return (content + Value(rng, end).make())[: 2**20] + b"."
    content += b"(]q\0}q\1)q\2" * (rng.random() < 0.5)
    for _ in range(rng.choice([3, 10, 30, 100])):
        part = rng.choice([*OPERATIONS, rng.choice(NAMES), rng.choice(STORAGES) + end, _atom(rng)])
        content += part * rng.choice([1, 1, 1, 1, 1, 2, 60, 3000])
    return content[: 2**20] + b"."


def _atom(rng):
    return rng.choice([number_of(rng.choice(ODD)), text(rng.choice(TEXTS)), b"N", b"K\2", b"C\2ab", HOOKS])


USUAL = "atom again grown tensor bytewise list tuple dict state parameter"
RARE = "call call_one keys set frozen build typed"


class Value:
    """The operations that put a random value onto the stack; places: of the memo that are in use."""

    def __init__(self, rng, end):
        self.rng, self.end, self.places = rng, end, 0

    def make(self, depth=0):
        kinds = USUAL if self.rng.random() < 0.93 else RARE
        content = getattr(self, self.rng.choice(kinds.split()) if depth < 7 else "atom")(depth + 1)
        if self.places < 250 and self.rng.random() < 0.5:
            content += b"q" + bytes([self.places])
            self.places += 1
        return content

    def several(self, depth):
        made = b"".join(self.make(depth) for _ in range(self.rng.choice([0, 1, 2, 3])))
        return made * self.rng.choice([1, 1, 1, 2, 100 if depth > 4 else 1])

    def atom(self, depth):
        return _atom(self.rng)

    def again(self, depth):
        return b"h" + bytes([self.rng.randrange(self.places)]) if self.places else _atom(self.rng)

    def grown(self, depth):
        first = self.make(depth)
        if self.places > 249:
            return first
        place = bytes([self.places])
        self.places += 1
        wrap = self.rng.choice(WRAPS).replace(b"%c", place)
        return first + (b"q" + place + b"0" + wrap) * self.rng.choice([3, 60, 3000])

    def tensor(self, depth):
        place = PLACE if self.rng.random() < 0.9 else b"K\0" + self.make(depth) + self.make(depth) + b"\x89"
        return TENSOR + b"(" + self.rng.choice(STORAGES) + self.end + place + HOOKS + b"tR"

    def bytewise(self, depth):
        kind = self.rng.choice(["torch.bool", "torch.bool", "torch.int16"])
        return BYTES + b"(" + STORAGES[3] + self.end + PLACE + b"N" + name(kind) + b"tR"

    def list(self, depth):
        return b"](" + self.several(depth) + b"e"

    def tuple(self, depth):
        return b"(" + self.several(depth) + b"t"

    def dict(self, depth):
        return b"}" + _atom(self.rng) + self.make(depth) + b"s"

    def attributes(self, depth):
        names = (text(self.rng.choice(TEXTS)) for _ in range(self.rng.choice([0, 1, 1])))
        return b"}(" + b"".join(name + self.make(depth) for name in names) + b"u"

    def state(self, depth):
        return HOOKS + self.attributes(depth) + b"b"

    def parameter(self, depth):
        return PARAMETER + b"(" + self.tensor(depth) + b"\x89" + HOOKS + self.attributes(depth) + b"tR"

    def typed(self, depth):
        inner = self.rng.choice(NAMES) + CLASS + self.make(depth) + b"\x85"
        return TYPED + b"(" + inner + self.attributes(depth) + b"tR"

    def call(self, depth):
        return self.rng.choice(NAMES) + b"(" + self.several(depth) + b"tR"

    def call_one(self, depth):
        return self.rng.choice(NAMES) + self.make(depth) + b"\x85R"

    def keys(self, depth):
        return b"}" + self.make(depth) + self.make(depth) + b"s"

    def set(self, depth):
        return b"\x8f(" + self.several(depth) + b"\x90"

    def frozen(self, depth):
        return b"(" + self.several(depth) + b"\x91"

    def build(self, depth):
        return self.make(depth) + self.attributes(depth) + b"b"


MAGIC = number_of(0x1950A86A20F9469CFC6C)
OLD = b"".join(b"\x80\x02" + x + b"." for x in (MAGIC, number_of(1001), b"}"))  # how an old file begins


def end_of_old(content):
    """The end of an old file: the names of its storages, and their bytes."""
    sizes = [size for size in (1, 4, 8) if b"X\1\0\0\0%dX" % size in content]
    names = b"".join(text(str(size)) for size in sizes)
    data = (struct.pack("<q", 4) + bytes([7, 200, 0, 1] * size) for size in sizes)
    return b"\x80\x02](" + names + b"e." + b"".join(data)
