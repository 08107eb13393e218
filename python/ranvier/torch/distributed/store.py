"""torch.distributed's stores of keys and values: TCPStore (shared by processes), HashStore and PrefixStore.

A store sends requests (op, parts ...) to a `_Table`, through a socket or directly. A message on a socket is
the number of its parts (uint32), their sizes (uint64 each), and the parts.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
import weakref
from contextlib import suppress
from datetime import timedelta
from typing import Any

# limits of a message, against processes that send something else
_MOST_PARTS = 2**16
_MOST_BYTES = 2**30

default_pg_timeout = timedelta(seconds=300)


class Store:
    """A table from keys to values (bytes).

    `get` and `wait` wait until the keys exist, at most for `timeout`.
    """

    timeout: timedelta = default_pg_timeout

    def _ask(self, op: str, *parts: bytes) -> bytes:
        raise NotImplementedError(f"[torch.distributed.{type(self).__name__}] {op} is not defined")

    def set(self, key: str, value: str | bytes) -> None:
        self._ask("set", key.encode(), _bytes(value))

    def get(self, key: str) -> bytes:
        return self._ask("get", _seconds(self.timeout), key.encode())

    def add(self, key: str, amount: int) -> int:
        """Adds to the number of a key, which begins with 0; returns the sum."""
        return int(self._ask("add", key.encode(), str(amount).encode()))

    def wait(self, keys: list[str], timeout: timedelta | None = None) -> None:
        """Waits for keys. Raises RuntimeError if one of them does not exist in time."""
        self._ask("wait", _seconds(timeout or self.timeout), *[key.encode() for key in keys])

    def check(self, keys: list[str]) -> bool:
        return self._ask("check", *[key.encode() for key in keys]) == b"1"

    def compare_set(self, key: str, expected_value: str, desired_value: str) -> bytes:
        """Sets a key if it has the expected value, or is missing and "" is expected; returns its value."""
        return self._ask("compare", key.encode(), _bytes(expected_value), _bytes(desired_value))

    def delete_key(self, key: str) -> bool:
        return self._ask("delete", key.encode()) == b"1"

    def num_keys(self) -> int:
        return int(self._ask("count"))

    def set_timeout(self, timeout: timedelta) -> None:
        self.timeout = timeout


class HashStore(Store):
    """A store of this process."""

    def __init__(self) -> None:
        self._table = _Table()

    def _ask(self, op: str, *parts: bytes) -> bytes:
        return _checked(op, self._table.answer(op, list(parts)))


class PrefixStore(Store):
    """A store in which all keys have a prefix."""

    def __init__(self, prefix: str, store: Store) -> None:
        self.prefix = prefix
        self.underlying_store = store

    @property
    def timeout(self) -> timedelta:
        return self.underlying_store.timeout

    @timeout.setter
    def timeout(self, value: timedelta) -> None:
        self.underlying_store.timeout = value

    def _ask(self, op: str, *parts: bytes) -> bytes:
        # which parts are keys: all from `start` on, or one; "get" and "wait" have the seconds before them
        start = {"get": 1, "wait": 1}.get(op, 0)
        end = len(parts) if op in ("wait", "check") else start + 1
        keys = [self.prefix.encode() + b"/" + key for key in parts[start:end]]
        return self.underlying_store._ask(op, *parts[:start], *keys, *parts[end:])


class TCPStore(Store):
    """A store that lives in the process with ``is_master``; the other processes connect to it.

    >>> store = TCPStore("127.0.0.1", 0, is_master=True)
    >>> store.set("a", "b"); store.get("a"), store.add("n", 2)
    (b'b', 2)
    """

    def __init__(
        self,
        host_name: str,
        port: int,
        world_size: int | None = None,
        is_master: bool = False,
        timeout: timedelta = default_pg_timeout,
        wait_for_workers: bool = True,
        **ignored: Any,
    ) -> None:
        self.host = host_name
        self.port = port
        self.timeout = timeout
        if is_master:
            listening = socket.create_server((host_name, port))
            self.port = listening.getsockname()[1]
            threading.Thread(target=_serve, args=(listening, _Table()), daemon=True).start()
            weakref.finalize(self, _close, listening)
        self._lock = threading.Lock()
        self._socket = _connected(self.host, self.port, timeout.total_seconds())
        weakref.finalize(self, _close, self._socket)
        if world_size and wait_for_workers:
            self.add("/workers", 1)
            end = time.monotonic() + timeout.total_seconds()
            while self.add("/workers", 0) < world_size:
                if time.monotonic() > end:
                    raise RuntimeError(f"[TCPStore] got fewer than {world_size} processes in {timeout}")
                time.sleep(0.01)

    def _ask(self, op: str, *parts: bytes) -> bytes:
        with self._lock:
            _send(self._socket, [op.encode(), *parts])
            return _checked(op, _receive(self._socket))

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle 'TCPStore' object")


class _Table:
    """The keys and values, for several threads."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.changed = threading.Condition()

    def answer(self, op: str, parts: list[bytes]) -> list[bytes]:
        """[result], or [] where a wait has ended without the keys."""
        values = self.values
        with self.changed:
            if op in ("get", "wait"):
                seconds, *keys = parts

                def has_keys() -> bool:
                    return all(key in values for key in keys)

                if not self.changed.wait_for(has_keys, float(seconds)):
                    return []
                if op == "get":
                    return [values[keys[0]]]
                return [b""]
            result = b""
            if op == "set":
                values[parts[0]] = parts[1]
            elif op == "add":
                number = int(values.get(parts[0], b"0")) + int(parts[1])
                result = str(number).encode()
                values[parts[0]] = result
            elif op == "compare":
                if values.get(parts[0], b"") == parts[1]:
                    values[parts[0]] = parts[2]
                result = values.get(parts[0], parts[1])
            elif op == "delete":
                result = b"0" if values.pop(parts[0], None) is None else b"1"
            elif op == "check":
                result = b"1" if all(key in values for key in parts) else b"0"
            elif op == "count":
                result = str(len(values)).encode()
            else:
                raise ValueError(f"[store] got the question {op!r}, which a store does not know")
            self.changed.notify_all()
            return [result]


def _checked(op: str, answer: list[bytes]) -> bytes:
    if not answer:
        raise RuntimeError(f"[store] {op} has waited for keys in vain; expected them before the timeout")
    return answer[0]


def _bytes(value: str | bytes) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return bytes(value)


def _seconds(timeout: timedelta) -> bytes:
    return str(timeout.total_seconds()).encode()


def _connected(host: str, port: int, seconds: float) -> socket.socket:
    end = time.monotonic() + seconds
    while True:
        try:
            return socket.create_connection((host, port))
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _close(of: socket.socket) -> None:
    with suppress(OSError):  # not connected
        of.shutdown(socket.SHUT_RDWR)
    of.close()


def _serve(listening: socket.socket, table: _Table) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            if listening.fileno() < 0:
                return  # closed
            time.sleep(0.05)  # no descriptor is left
            continue
        threading.Thread(target=_answer_all, args=(connection, table), daemon=True).start()


def _answer_all(connection: socket.socket, table: _Table) -> None:
    try:
        while True:
            op, *parts = _receive(connection)
            _send(connection, table.answer(op.decode(), parts))
    except Exception:  # the other process has ended, or has sent a wrong message; other connections go on
        connection.close()


def _send(to: socket.socket, parts: list[bytes]) -> None:
    head = struct.pack(f"<I{len(parts)}Q", len(parts), *map(len, parts))
    to.sendall(head + b"".join(parts))


def _receive(of: socket.socket) -> list[bytes]:
    (count,) = struct.unpack("<I", _exactly(of, 4))
    if count > _MOST_PARTS:
        raise ConnectionError(f"[store] got a message of {count} parts")
    sizes = struct.unpack(f"<{count}Q", _exactly(of, 8 * count))
    if sum(sizes) > _MOST_BYTES:
        raise ConnectionError(f"[store] got a message of {sum(sizes)} bytes")
    return [_exactly(of, size) for size in sizes]


def _exactly(of: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = of.recv(min(size - len(data), 2**20))
        if not part:
            raise ConnectionError("[store] the other process has closed the connection")
        data += part
    return bytes(data)
