"""A statement as SQLAlchemy holds it, for whoever wants to build another from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import ref


class Issued(NamedTuple):
    """The tree of a statement that was executed, and what its execution added to it.

    It is looked up in SQLAlchemy's own cache of compiled statements, and not kept: there may be
    values in it, which are for nobody to read. ``populates`` says that objects were read anew,
    ``streams`` that rows came in portions.
    """

    compiled: Callable[[], Any]
    populates: bool = False
    streams: bool = False

    @property
    def statement(self) -> Any:
        """The statement; None where SQLAlchemy has forgotten it."""
        return getattr(self.compiled(), "statement", None)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The keys of its bound values in the order in which the driver got them.

        Nothing where that cannot be told: an expanding one would move those behind it.
        """
        compiled = self.compiled()
        binds = getattr(compiled, "bind_names", None) or {}
        if any(bind.expanding or bind.literal_execute for bind in binds):
            return ()
        keys = {name: bind.key for bind, name in binds.items()}
        positions = getattr(compiled, "positiontup", None)  # DDL has no places for values
        return tuple(keys.get(name, name) for name in positions or keys)

    @property
    def dialect(self) -> Any:
        """The dialect that it was compiled for."""
        return self.compiled().dialect


def issued_of(compiled: Any, options: Any) -> Issued | None:
    """Return the statement of one execution; None for SQL that went to the driver.

    :param compiled: ``context.compiled``.
    :param options: ``context.execution_options``.
    """
    if getattr(compiled, "statement", None) is None:
        return None
    load = options.get("_sa_orm_load_options")
    refreshes = getattr(load, "_refresh_state", None) is not None
    return Issued(
        ref(compiled),
        populates=refreshes or bool(getattr(load, "_populate_existing", False)),
        streams=bool(options.get("yield_per") or options.get("stream_results")),
    )


def known(issued: Issued | None) -> Issued | None:
    """Return what was issued if SQLAlchemy still knows it."""
    return issued if issued is not None and issued.statement is not None else None


def commits_itself(issued: Issued | None) -> bool:
    """Tell whether an engine was made for AUTOCOMMIT, whatever its connections are told since."""
    if known(issued) is None or issued is None:
        return False
    level: object = getattr(issued.dialect, "_on_connect_isolation_level", None)
    return level == "AUTOCOMMIT"
