"""The files of all workers in one directory.

Each worker holds a lock on its file for as long as it lives, however it ends. The files of the
dead are folded into an archive and removed, so there are never more files than workers.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from mmap import mmap
from pathlib import Path
from tempfile import mkstemp
from typing import NamedTuple

from flask_perfkit.faults import log_once
from flask_perfkit.metrics.store.rows import LARGEST

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PREFIX, _SUFFIX = "perfkit-", ".rows"
_NEW = ".new"
_ARCHIVE, _LOCK = "perfkit.archive", "perfkit.lock"
_LONGEST_WAIT = 5.0  # seconds
_PAUSE = 0.005
_ABANDONED = 60.0  # seconds after which a file that nobody finished is removed

can_lock = fcntl is not None
"""Whether this platform can tell a living worker by the lock on its file."""


class WorkerFile:
    """The file of this process, mapped into its memory.

    :raises OSError: it cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        self._fd, name = mkstemp(_NEW, _PREFIX, directory)
        self.path = Path(name)
        self._size = 0
        self._map: mmap | None = None
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def publish(self) -> None:
        """Let others see it: a file that has its name but no lock is that of a dead worker."""
        self.path = self.path.rename(self.path.with_suffix(_SUFFIX))

    def grown(self, size: int) -> memoryview:
        """Map the file again, larger.

        The zeros are written, because touching a hole would kill us once the disk is full.
        """
        added = size - self._size
        if os.pwrite(self._fd, bytes(added), self._size) != added:
            raise OSError(f"no room for {size} bytes in {self.path}")
        self._map = mmap(self._fd, size)
        self._size = size
        return memoryview(self._map)

    def close(self) -> None:
        """Let go of the file; the lock goes when each process that had it has let go."""
        if self._map is not None:
            with suppress(BufferError):  # somebody still looks at it
                self._map.close()
        os.close(self._fd)


class Source(NamedTuple):
    """The bytes of one worker's file, with whether the worker lives."""

    path: Path
    data: bytes
    alive: bool


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the directory for reading all of it at one moment.

    :raises TimeoutError: another process holds it for too long.
    :raises OSError: it cannot be written to.
    """
    fd = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + _LONGEST_WAIT
        while not _try_lock(fd):
            if time.monotonic() > deadline:
                raise TimeoutError(f"another process has held {directory / _LOCK} for too long")
            time.sleep(_PAUSE)
        yield
    finally:
        os.close(fd)


def read_all(directory: Path) -> list[Source]:
    """Read the files of all workers; the caller holds the directory."""
    sources = []
    for path in sorted(directory.glob(f"{_PREFIX}*{_SUFFIX}")):
        try:
            sources.append(_read(path))
        except FileNotFoundError:
            continue
        except OSError:
            log_once("reading a file of figures")
    _remove_abandoned(directory)
    return sources


def any_alive(directory: Path) -> bool:
    """Tell whether a worker that uses this directory lives."""
    return any(source.alive for source in read_all(directory))


def _read(path: Path) -> Source:
    fd = os.open(path, os.O_RDWR)
    try:
        alive = not _try_lock(fd)
        return Source(path, os.pread(fd, LARGEST, 0), alive)
    finally:
        os.close(fd)


def write_double(path: Path, place: int, value: float) -> None:
    """Write one double into the file of another process."""
    with open(path, "r+b") as file:
        file.seek(place * 8)
        file.write(struct.pack("d", value))


def read_archive(directory: Path) -> bytes | None:
    """Read what the dead have left; None before the first death."""
    try:
        return (directory / _ARCHIVE).read_bytes()
    except FileNotFoundError:
        return None


def write_archive(directory: Path, data: bytes) -> None:
    """Replace what the dead have left, at once or not at all."""
    fd, name = mkstemp(_NEW, _PREFIX, directory)
    try:
        with open(fd, "wb") as file:
            file.write(data)
        os.replace(name, directory / _ARCHIVE)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def remove(path: Path) -> None:
    """Remove the file of a dead worker; where that is forbidden it stays, and is known."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        log_once("removing a file of figures")


def _remove_abandoned(directory: Path) -> None:
    """Remove what a process began to write and was killed over."""
    for path in directory.glob(f"{_PREFIX}*{_NEW}"):
        try:
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()
        except FileNotFoundError:
            continue
        except OSError:
            log_once("removing an old file of figures")


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
