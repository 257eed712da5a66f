"""Watches what is used of loaded objects.

That is an attribute which the code reads or sets (a value that was loaded tells whether there is
something to write), one for which SQLAlchemy itself would send a statement if it were not there
(to delete an object, or to replace a collection), all of an object that is pickled or copied, and
an object that the session has already when it is asked for it. Each costs one more function call,
so this is for debug and tests. It shows which eager loads and which wide columns nobody needs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from sqlalchemy.orm import Session, attributes
from sqlalchemy.orm.attributes import InstrumentedAttribute
from sqlalchemy.orm.base import NO_VALUE, PassiveFlag
from sqlalchemy.orm.state import AttributeState, InstanceState

from flask_perfkit.recording.callsite import memory
from flask_perfkit.recording.recorder import current
from flask_perfkit.recording.uses import MOST_ANSWERED, Answered, note_elsewhere

_get = InstrumentedAttribute.__get__
_IMPLEMENTATIONS = ("AttributeImpl", "ScalarObjectAttributeImpl", "CollectionAttributeImpl")


def watch_attributes() -> None:
    """Note what is used where a recorder asks for it; harmless again."""
    if are_watched():
        return
    InstrumentedAttribute.__get__ = _noting_get  # type: ignore[method-assign]
    for name in _IMPLEMENTATIONS:
        # SQLAlchemy 2.1 has them with an underscore.
        implementation = getattr(attributes, f"_{name}", None) or getattr(attributes, name, None)
        for method in {"get", "get_history"} & vars(implementation).keys():
            _wrap(implementation, method, _noting_need)
    _wrap(InstrumentedAttribute, "__set__", _noting_set)
    _wrap(InstanceState, "__getstate__", _noting_copy)
    _wrap(Session, "_identity_lookup", _noting_lookup)
    AttributeState.loaded_value = property(_loaded_value)  # type: ignore[assignment, method-assign]
    memory.clear()  # there is more to see of each statement now


def are_watched() -> bool:
    """Tell whether uses are noted in this process."""
    return InstrumentedAttribute.__get__ is _noting_get


def _wrap(owner: Any, name: str, noting: Callable[[Any], Any]) -> None:
    """Put a noting function around a method; one that is there already stays."""
    method = getattr(owner, name, None)
    if method is not None and not hasattr(method, "__wrapped__"):
        setattr(owner, name, update_wrapper(noting(method), method))


def _note(attribute: Any) -> None:
    recorder = current()
    if recorder is not None and recorder.touched is not None:
        # By identity: attributes compare into SQL expressions.
        recorder.touched[id(attribute)] = attribute
    else:
        note_elsewhere(attribute)


def _noting_get(self: Any, instance: Any, owner: Any) -> Any:
    if instance is not None:
        _note(self)
    return _get(self, instance, owner)


def _noting_set(method: Callable[..., Any]) -> Callable[..., Any]:
    def noting(self: Any, instance: Any, value: Any) -> None:
        if self.key in instance.__dict__:
            _note(self)
        method(self, instance, value)

    return noting


def _noting_copy(method: Callable[..., Any]) -> Callable[..., Any]:
    def noting(self: Any) -> Any:
        for key in self.dict.keys() & self.manager.keys():
            _note(self.manager[key])
        return method(self)

    return noting


def _noting_need(method: Callable[..., Any]) -> Callable[..., Any]:
    def noting(
        self: Any, state: Any, dict_: Any, passive: Any = PassiveFlag.PASSIVE_OFF, **more: Any
    ) -> Any:
        if passive & PassiveFlag.SQL_OK:
            _note(self.parent_token)
        return method(self, state, dict_, passive, **more)

    return noting


def _noting_lookup(method: Callable[..., Any]) -> Callable[..., Any]:
    def noting(self: Any, mapper: Any, identity: Any, *arguments: Any, **more: Any) -> Any:
        instance = method(self, mapper, identity, *arguments, **more)
        recorder = current()
        if recorder is not None and recorder.touched is not None:
            state = getattr(instance, "_sa_instance_state", None)
            if state is not None and len(recorder.touched) < MOST_ANSWERED:
                recorder.touched.setdefault(id(state), Answered(state))
        return instance

    return noting


def _loaded_value(self: AttributeState) -> Any:
    _note(self.state.manager[self.key])
    return self.state.dict.get(self.key, NO_VALUE)


update_wrapper(_noting_get, _get)
