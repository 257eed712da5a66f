"""Puts a callable of ours in the place of one of the host's, with all that the host's has.

Others may read attributes of it, ask for its signature, pickle it or look at what kind of thing it
is. So a method stays a method of its object, a function a function, and what is neither is stood
in for by an object that passes on whatever it is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from types import FunctionType, MethodType
from typing import Any


def stand_in(original: Any, call: Callable[..., Any]) -> Any:
    """Return what takes the place of a callable and calls ``call``.

    :param call: of a method it gets the object first, as the method's function does; for a
        coroutine function it is one.
    """
    if isinstance(original, MethodType):
        return MethodType(stand_in(original.__func__, call), original.__self__)
    if isinstance(original, FunctionType):
        return update_wrapper(call, original)
    return StandIn(original, call)


class StandIn:
    """Takes the place of a callable that is no function: of a builtin, or of an object."""

    def __init__(self, original: Any, call: Callable[..., Any]) -> None:
        update_wrapper(self, original, updated=())
        look = {name: getattr(original, name, None) for name in ("__doc__", "__module__")}
        vars(self).update(look, _call=call)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return vars(self)["_call"](*args, **kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind as the original does: a builtin function does not, a method of C does."""
        original = vars(self)["__wrapped__"]
        bind = getattr(type(original), "__get__", None)
        bound = original if bind is None else bind(original, instance, owner)
        return self if bound is original else StandIn(bound, partial(self, instance))

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(vars(self)["__wrapped__"])

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["__wrapped__"], name)

    def __dir__(self) -> list[str]:
        return dir(vars(self)["__wrapped__"])

    def __eq__(self, other: object) -> bool:
        return self is other or bool(vars(self)["__wrapped__"] == other)

    def __hash__(self) -> int:
        return hash(vars(self)["__wrapped__"])

    def __repr__(self) -> str:
        return repr(vars(self)["__wrapped__"])

    def __reduce_ex__(self, protocol: Any) -> Any:
        return vars(self)["__wrapped__"].__reduce_ex__(protocol)
