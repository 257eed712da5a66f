"""What is known of a query before it runs: its statement, its session, the shape of its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import CompoundSelect, Select
from sqlalchemy.orm import LoaderCriteriaOption, Query

from flask_perfkit.pagination.app import current_session

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Mapper
    from sqlalchemy.sql.selectable import GenerativeSelect

    from flask_perfkit.pagination.app import AnySession

    AnySelect = Select[Any] | CompoundSelect[Any]
    Pageable = GenerativeSelect | Query[Any]


def read_query(query: Pageable, session: AnySession | None) -> tuple[AnySelect, AnySession]:
    """Return the statement of a query and the session that runs it.

    :raises TypeError: the query is no select.
    """
    statement: Any = query
    if isinstance(query, Query):
        statement, session = query.statement, session or query.session
    if not isinstance(statement, Select | CompoundSelect):
        raise TypeError(f"cannot page over {type(query).__name__}: pass a select() or a Query")
    return statement, session or current_session()


def bind_of(session: AnySession, statement: AnySelect) -> Engine | Connection:
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
