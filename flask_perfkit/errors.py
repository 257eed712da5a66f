"""Every error that Flask-PerfKit raises, in one tree.

::

    PerfKitError
    ├── SettingsError       (ValueError)      a PERFKIT_* setting is unknown or has a bad value
    ├── SetupError          (RuntimeError)    the application is not set up for what was asked
    ├── ExtraMissing        (ImportError)     an optional package is needed; names the extra
    ├── StoreError          (ConnectionError) the store of profiles cannot be read
    ├── ParameterError      (ValueError, 400) a query parameter is bad
    │   └── CursorError     (ValueError, 400) a cursor is forged, cut or of another query
    ├── FindingError        (AssertionError)  PERFKIT_ON_FINDING = "raise" met a finding
    └── BudgetExceeded      (AssertionError)  more queries than a test allows
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from flask_perfkit.recording.findings import Finding


class PerfKitError(Exception):
    """The root of all errors of this package."""


class SettingsError(PerfKitError, ValueError):
    """A ``PERFKIT_*`` setting is unknown or has a value that is not allowed."""


class SetupError(PerfKitError, RuntimeError):
    """What was asked for is not possible as things are set up; the message says what to do.

    The extension was set up twice or not at all, say, or the application has no Flask-Migrate.
    """


class ExtraMissing(PerfKitError, ImportError):
    """A feature needs a package that is not installed.

    :param feature: what was asked for, as a user would name it.
    :param extra: the name in ``pip install 'flask-perfkit[extra]'``, quoted as some shells want it.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs a package that is not installed: pip install 'flask-perfkit[{extra}]'"
        )
        self.extra = extra


class StoreError(PerfKitError, ConnectionError):
    """The place behind ``PERFKIT_STORAGE_URL`` cannot be read; no request is concerned."""


class ParameterError(PerfKitError, BadRequest, ValueError):
    """A query parameter is not acceptable; Flask answers it as a 400.

    The response is ``application/problem+json`` (RFC 9457), its ``errors``
    naming each parameter with what is wrong with it.
    """

    def __init__(self, errors: dict[str, list[str]]) -> None:
        detail = "; ".join(f"{name}: {' '.join(messages)}" for name, messages in errors.items())
        super().__init__(detail)
        self.errors = errors

    def __str__(self) -> str:
        return str(self.description)

    @property
    def data(self) -> dict[str, Any]:
        """The problem as plain data, by the name under which Flask-RESTX looks for a body."""
        return {
            "type": "about:blank",
            "title": HTTPStatus.BAD_REQUEST.phrase,
            "status": 400,
            "detail": self.description,
            "errors": self.errors,
        }

    def get_response(self, environ: Any = None, scope: Any = None) -> Response:
        """Return the problem+json answer that Flask sends for this error."""
        return Response(json.dumps(self.data), status=400, content_type="application/problem+json")


class CursorError(ParameterError):
    """A cursor cannot be used: forged, cut, expired, or made for another query."""

    def __init__(self, message: str) -> None:
        super().__init__({"cursor": [message]})


class FindingError(PerfKitError, AssertionError):
    """``PERFKIT_ON_FINDING = "raise"`` met at least one finding.

    :param findings: what was found, worst first.
    """

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__("\n".join(finding.message for finding in findings))
        self.findings = findings


class BudgetExceeded(PerfKitError, AssertionError):
    """A block ran more queries than its budget allows."""
