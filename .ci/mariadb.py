"""See to it that MariaDB's server is installed: its programs only, nothing is started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

PACKAGES = ("mariadb-server-core", "mariadb-client-core")
PROGRAMS = ("mariadbd", "mariadb-install-db", "my_print_defaults")
MOST_SECONDS = 300


def main() -> None:
    if _missing():
        _install()
    if missing := _missing():
        sys.exit(f"MariaDB is installed, but {' and '.join(missing)} cannot be found in PATH.")


def _missing() -> list[str]:
    return [program for program in PROGRAMS if shutil.which(program) is None]


def _install() -> None:
    command = f"apt-get install {' '.join(PACKAGES)}"
    if shutil.which("apt-get") is None:
        sys.exit("MariaDB is not installed, and there is no apt-get: install its server yourself.")
    if os.geteuid() != 0:
        sys.exit(f"MariaDB is not installed, and only root may: sudo {command}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
        try:
            subprocess.run(
                ["apt-get", "-q", *arguments], env=environment, timeout=MOST_SECONDS, check=True
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            sys.exit(f"MariaDB could not be installed: {error}")


if __name__ == "__main__":
    main()
