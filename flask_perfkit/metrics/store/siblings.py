"""Finds the directory that the workers of one server share, where none was set."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from flask_perfkit.metrics.store.directory import any_alive

_PROC = Path("/proc")
_PREFIX = "flask-perfkit-"
_OLD = 3600.0  # seconds after which the directory of a server that is gone is removed


def own_namespace() -> int:
    """Return what tells the process ids of one container from those of another; 0 unknown."""
    with suppress(OSError):
        return os.stat(_PROC / "self" / "ns" / "pid").st_ino
    return 0


def server() -> int | None:
    """Return the process id of the server whose worker this process is.

    None where the parent does not run the same program: it is then a shell or an init system,
    whose other children are none of ours.
    """
    parent = os.getppid()
    for look in (_executable, _command):
        with suppress(OSError):
            return parent if look(parent) == look(os.getpid()) else None
    return None


def shared_directory() -> Path | None:
    """Make or find the directory that only the workers of this server share.

    None where this cannot be told, or where others could write to it.
    """
    parent = server()
    if parent is None or not hasattr(os, "getuid"):
        return None
    with suppress(OSError):
        identity = (
            (_PROC / "sys/kernel/random/boot_id").read_text().strip(),
            *(own_namespace(), parent, _started(parent)),
            *(sys.prefix, os.getcwd()),
        )
        name = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
        directory = Path(tempfile.gettempdir(), f"{_PREFIX}{os.getuid()}-{name}")
        if not directory.exists():
            _remove_old(directory.parent)
            with suppress(FileExistsError):
                directory.mkdir(mode=0o700)
        return directory if _is_private(directory) else None
    return None


def _executable(pid: int) -> str:
    return os.readlink(_PROC / str(pid) / "exe")


def _command(pid: int) -> bytes:
    """Return the command line: who may not see the executable of root's process sees this."""
    return (_PROC / str(pid) / "cmdline").read_bytes()


def _started(pid: int) -> bytes:
    return (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[19]


def _is_private(directory: Path) -> bool:
    """Tell whether it is a directory of this user that nobody else may write to."""
    status = directory.lstat()
    is_directory = directory.is_dir() and not directory.is_symlink()
    return is_directory and status.st_uid == os.getuid() and status.st_mode & 0o077 == 0


def _remove_old(parent: Path) -> None:
    for directory in parent.glob(f"{_PREFIX}{os.getuid()}-*"):
        with suppress(OSError):
            changed = max(path.stat().st_mtime for path in (directory, *directory.iterdir()))
            if time.time() - changed > _OLD and _is_private(directory) and not any_alive(directory):
                shutil.rmtree(directory)
