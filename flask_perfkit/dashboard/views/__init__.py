"""The pages: each file reads what one of them shows, as plain data."""

from __future__ import annotations

from flask_perfkit.dashboard.views.cache import cache
from flask_perfkit.dashboard.views.findings import finding, findings
from flask_perfkit.dashboard.views.indexes import indexes
from flask_perfkit.dashboard.views.overview import overview
from flask_perfkit.dashboard.views.page import Show
from flask_perfkit.dashboard.views.request import request
from flask_perfkit.dashboard.views.requests import requests
from flask_perfkit.dashboard.views.route import route
from flask_perfkit.dashboard.views.statements import statement, statements
from flask_perfkit.dashboard.views.system import system

_READ = ("GET",)
_ACT = ("GET", "POST")

VIEWS: tuple[tuple[str, Show, tuple[str, ...]], ...] = (
    ("", overview, _READ),
    ("/route", route, _READ),
    ("/requests", requests, _READ),
    ("/requests/<profile_id>", request, _READ),
    ("/statements", statements, _READ),
    ("/statements/<fingerprint>", statement, _ACT),
    ("/findings", findings, _READ),
    ("/findings/<finding_id>", finding, _ACT),
    ("/cache", cache, _READ),
    ("/system", system, _READ),
    ("/indexes", indexes, _ACT),
)
"""The rules below the dashboard's path, who answers, and by which methods.

Only a POST, which needs the token of a form, has anything done.
"""
