"""Runs one variant and answers what it is asked to measure: the far end of a Process.

python worker.py <variant>
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
from typing import TYPE_CHECKING

from measures import Cost, Start
from variants import VARIANTS

if TYPE_CHECKING:
    from application import Server
    from flask import Flask

_WARM = 3


def main(name: str) -> None:
    # Nothing that a variant prints may get between the answers; what is logged is formatted
    # and written, as in production, but need not be seen.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    logging.basicConfig(filename=os.devnull)
    try:
        app, start = _set_up(name)
        server = _serve(app)
    except ModuleNotFoundError as error:
        start = Start(failure=f"not installed: no module {error.name}")
    except Exception as error:
        start = Start(failure=f"does not work: {type(error).__name__}: {error}")
    pickle.dump(start, answers)
    answers.flush()
    while start.failure is None:
        task, arguments = pickle.load(sys.stdin.buffer)
        pickle.dump(task(app, server, *arguments), answers)
        answers.flush()


def _set_up(name: str) -> tuple[Flask, Start]:
    from application import create_app

    variant = next(each for each in VARIANTS if each.name == name)
    before = Cost.so_far()
    install = variant.load()
    imported = Cost.so_far().since(before)
    app = create_app(variant.config)
    before = Cost.so_far()
    note = install(app)
    return app, Start(imported, Cost.so_far().since(before), note)


def _serve(app: Flask) -> Server:
    """Fill the database and see that every endpoint answers."""
    from application import Server, fill
    from endpoints import ENDPOINTS

    with app.app_context():
        fill()
    server = Server(app)
    for path in ENDPOINTS.values():
        for _ in range(_WARM):
            server.get(path)
            if server.status != "200 OK":
                raise RuntimeError(f"{path} answers {server.status}")
    return server


if __name__ == "__main__":
    main(sys.argv[1])
