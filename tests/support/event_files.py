"""TensorBoard's event files, read by the format's description, bit by bit."""

import struct


def crc(data):
    """CRC-32C of data, one bit at a time, masked as TensorFlow's records have it."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def fields(message):
    """{key: [values]} of a message."""
    found, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(message):
        key, kind = divmod(number(), 8)
        if kind == 0:
            value = number()
        else:
            size = {1: 8, 5: 4}.get(kind) or number()
            value = message[at : at + size]
            at += size
            value = struct.unpack({1: "<d", 5: "<f"}[kind], value)[0] if kind in (1, 5) else value
        found.setdefault(key, []).append(value)
    return found


def events(path):
    """The fields of every event of a file, whose checksums are right."""
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        head, event, tail = data[8:12], data[12 : 12 + length], data[12 + length : 16 + length]
        assert struct.unpack("<II", head + tail) == (crc(data[:8]), crc(event))
        found.append(fields(event))
        data = data[16 + length :]
    assert found[0][3] == [b"brain.Event:2"]
    return found[1:]


def read(folder):
    """[(step, tag, fields of the value)] of the event files in a folder, in their order."""
    values = []
    for path in sorted(folder.glob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime_ns):
        for event in events(path):
            for summary in event.get(5, []):
                value = fields(fields(summary)[1][0])
                values.append((event.get(2, [None])[0], value[1][0].decode(), value))
    return values
