"""A statement as SQLAlchemy holds it, for whoever wants to build another from it."""

from __future__ import annotations

from typing import Any, NamedTuple


class Issued(NamedTuple):
    """The tree of a statement that was executed, and what its execution added to it.

    ``statement`` is what SQLAlchemy's cache of compiled statements holds: the values in it are
    those of some execution, and are for nobody to read. ``parameters`` are the keys of its
    bound values in the order in which the driver got them; none where that cannot be told.
    ``populates`` says that objects were read anew, ``streams`` that rows came in portions.
    """

    statement: Any
    dialect: Any
    parameters: tuple[str, ...] = ()
    populates: bool = False
    streams: bool = False


def issued_of(compiled: Any, options: Any) -> Issued | None:
    """Return the statement of one execution; None for SQL that went to the driver.

    :param compiled: ``context.compiled``.
    :param options: ``context.execution_options``.
    """
    statement = getattr(compiled, "statement", None)
    if statement is None:
        return None
    load = options.get("_sa_orm_load_options")
    refreshes = getattr(load, "_refresh_state", None) is not None
    return Issued(
        statement,
        compiled.dialect,
        _parameters(compiled),
        populates=refreshes or bool(getattr(load, "_populate_existing", False)),
        streams=bool(options.get("yield_per") or options.get("stream_results")),
    )


def _parameters(compiled: Any) -> tuple[str, ...]:
    """Return the keys of the bound values; an expanding one would move those behind it."""
    binds = getattr(compiled, "bind_names", None) or {}
    if any(bind.expanding or bind.literal_execute for bind in binds):
        return ()
    keys = {name: bind.key for bind, name in binds.items()}
    return tuple(keys.get(name, name) for name in compiled.positiontup or keys)
