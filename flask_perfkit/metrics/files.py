"""The dashboard for Grafana and the rules for Prometheus that come with the package."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile

from flask_perfkit.errors import SetupError

_SOURCE = Path(__file__).parent / "monitoring"


def copy_monitoring(directory: Path) -> list[Path]:
    """Copy the files into a directory, which is made if need be; return where they are.

    :raises SetupError: one of them is there already, and none was written.
    """
    copies = {source: directory / source.name for source in sorted(_SOURCE.iterdir())}
    for copy in copies.values():
        if copy.exists():
            raise SetupError(f"{copy} is there already: move it away, or name another directory")
    directory.mkdir(parents=True, exist_ok=True)
    for source, copy in copies.items():
        copyfile(source, copy)
    return list(copies.values())
