"""What is known of a query before it runs: its statement, its session, the shape of its rows."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from sqlalchemy import CompoundSelect, Select
from sqlalchemy.ext.horizontal_shard import ShardedSession
from sqlalchemy.orm import LoaderCriteriaOption, Query, Session, scoped_session

from flask_perfkit.pagination.app import current_session

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Mapper
    from sqlalchemy.sql.selectable import GenerativeSelect

    from flask_perfkit.pagination.app import AnySession

    AnySelect = Select[Any] | CompoundSelect[Any]
    Pageable = GenerativeSelect | Query[Any]


def read_query(query: Pageable, session: AnySession | None) -> tuple[AnySelect, Session]:
    """Return the statement of a query and the session that runs it.

    :raises TypeError: the query is no select, or the session none that can run it.
    """
    statement: Any = query
    if isinstance(query, Query):
        statement, session = query.statement, session or query.session
    if not isinstance(statement, Select | CompoundSelect):
        if isinstance(query, type):
            raise TypeError(f"cannot page over a class: pass select({query.__name__})")
        raise TypeError(f"cannot page over {type(query).__name__}: pass a select() or a Query")
    return statement, _plain(session or current_session())


def require_session(session: Any) -> None:
    """Refuse with a TypeError what is no session that runs a page's statements."""
    if session is None or isinstance(session, Session | scoped_session):
        return
    if _is_async(session):
        raise TypeError(
            f"session={type(session).__name__} cannot run a page: "
            "await session.run_sync(lambda session: paginate(query, params, session=session))"
        )
    raise TypeError(f"session={session!r:.80}: must be a Session or a scoped_session")


def _is_async(session: object) -> bool:
    # There is none where its module was not imported, which without greenlet it cannot be.
    asyncio = sys.modules.get("sqlalchemy.ext.asyncio")
    return asyncio is not None and isinstance(
        session, asyncio.AsyncSession | asyncio.async_scoped_session
    )


def _plain(session: AnySession) -> Session:
    require_session(session)
    plain: Session = session() if isinstance(session, scoped_session) else session
    if isinstance(plain, ShardedSession):
        raise TypeError(
            "cannot page over a ShardedSession: rows of several databases have no common order; "
            "page over one of them with a Session of its own"
        )
    return plain


def bind_of(session: Session, statement: AnySelect) -> Engine | Connection:
    """Return what the session runs this statement on."""
    subject = statement._propagate_attrs.get("plugin_subject")
    mapper: Mapper[Any] | None = subject.mapper if subject is not None else None
    return session.get_bind(mapper=mapper, clause=statement)


def criteria_of(statement: AnySelect) -> list[LoaderCriteriaOption]:
    """Return the options that take rows out, such as a soft delete."""
    return [
        option for option in statement._with_options if isinstance(option, LoaderCriteriaOption)
    ]


def require_whole_collections(statement: Select[Any]) -> None:
    """Refuse contains_eager() of a collection, which a page would cut, with a ValueError."""
    for option in statement._with_options:
        for part in getattr(option, "context", ()):
            if "eager_from_alias" in part.local_opts and part.path.path[-2].uselist:
                raise ValueError(
                    f"a page would cut {part.path.path[-2]}, which contains_eager() fills from "
                    "the rows: load it by selectinload()"
                )


def entity_of(description: Any) -> Any:
    """Return the mapped class or alias of a column description; None for a mere column."""
    entity = description.get("entity")
    return entity if entity is not None and description["expr"] is entity else None
