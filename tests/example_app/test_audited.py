"""An audit of the example application finds what its ``/before`` was made for."""

from __future__ import annotations

import json
from collections.abc import Callable

from flask import Flask
from flask_migrate import upgrade

from example_app import seed


def test_audit(make_app: Callable[..., Flask], database_url: str, redis_url: str) -> None:
    app = make_app(TESTING=True, SQLALCHEMY_DATABASE_URI=database_url, REDIS_URL=redis_url)
    with app.app_context():
        upgrade()
        seed.fill(documents=1500, users=20)
    arguments = ["perfkit", "audit", "--json", "--prove", "--fail-on", "error"]
    result = app.test_cli_runner().invoke(args=arguments)
    report = json.loads(result.stdout)
    errors = {
        (finding["endpoint"], finding["kind"])
        for finding in report["findings"]
        if finding["severity"] == "error"
    }
    assert errors == {
        ("before.list_documents", "unbounded_result"),
        ("before.show_analytics", "n_plus_one"),
        ("before.sleep", "blocking_call"),
        ("before.count_keys", "redis_keys"),
    }
    (fix,) = {each["fix"] for each in report["findings"] if each["kind"] == "n_plus_one"}
    assert fix == (  # the time is in the objects, which a loader option would still build
        "select(Document.user_id, Document.document_type, func.sum(Document.size), func.count())"
        ".group_by(Document.user_id, Document.document_type)"
    )
    assert result.exit_code == 1
