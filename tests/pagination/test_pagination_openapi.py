"""What the schemas say in OpenAPI, and how they go into flask-smorest and APIFlask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema, fields
from paging_models import Color, Document, Everything, add_documents, db
from sqlalchemy import select

from flask_perfkit.errors import ParameterError
from flask_perfkit.pagination import (
    CursorParams,
    CursorParamsSchema,
    PaginationParams,
    PaginationParamsSchema,
    cursor_page_schema,
    openapi_operation,
    page_schema,
    paginate,
    paginated,
    params_schema,
)
from flask_perfkit.pagination.http.filters import read_filters


class DocumentSchema(Schema):
    id = fields.Integer()
    title = fields.String()


SORTABLE = {"id": Document.id, "title": Document.title}
WHOLE = {"type": "integer"}
TRUTH = {"type": "boolean"}
TEXT_OR_NULL = {"type": "string", "nullable": True}


@pytest.fixture
def spec() -> APISpec:
    return APISpec("paging", "1", "3.0.3", plugins=[MarshmallowPlugin()])


def described(spec: APISpec, schema: Any) -> Any:
    """Return what OpenAPI says of an envelope; its name is that of its items."""
    content = {"application/json": {"schema": schema}}
    spec.path("/", operations={"get": {"responses": {"200": {"content": content}}}})
    return spec.to_dict()["components"]["schemas"]


def test_envelopes_are_described_under_the_name_of_their_items(spec: APISpec) -> None:
    schemas = described(spec, page_schema(DocumentSchema))
    assert list(schemas) == ["Document", "DocumentPage"]
    page = schemas["DocumentPage"]
    assert page["properties"] == {
        "items": {"type": "array", "items": {"$ref": "#/components/schemas/Document"}},
        "total": {"type": "integer", "nullable": True},
        "page": WHOLE,
        "page_size": WHOLE,
        "total_pages": {"type": "integer", "nullable": True},
        "has_next": TRUTH,
        "has_previous": TRUTH,
    }
    assert sorted(page["required"]) == sorted(page["properties"])


def test_the_total_of_a_cursor_page_is_optional(spec: APISpec) -> None:
    page = described(spec, cursor_page_schema(DocumentSchema))["DocumentCursorPage"]
    assert page["properties"] == {
        "items": {"type": "array", "items": {"$ref": "#/components/schemas/Document"}},
        "page_size": WHOLE,
        "next_cursor": TEXT_OR_NULL,
        "previous_cursor": TEXT_OR_NULL,
        "has_next": TRUTH,
        "has_previous": TRUTH,
        "total": WHOLE,
    }
    assert set(page["properties"]) - set(page["required"]) == {"total"}


def test_parameters_are_described_with_their_limits(spec: APISpec) -> None:
    filters = read_filters(
        {
            "user_id": Document.user_id,
            "title": (Document.title, "in"),
            "color": Everything.color,
            "since": (Document.uploaded_at, "ge"),
        }
    )
    schema = params_schema(SORTABLE, {name: item.field for name, item in filters.items()})
    spec.path("/", operations={"get": {"parameters": [{"in": "query", "schema": schema}]}})
    parameters = spec.to_dict()["paths"]["/"]["get"]["parameters"]
    assert not any(parameter["required"] for parameter in parameters)
    assert {parameter["name"]: parameter["schema"] for parameter in parameters} == {
        "page": {"type": "integer", "default": 1, "minimum": 1},
        "page_size": {"type": "integer", "minimum": 1, "maximum": 100},
        "cursor": {"type": "string"},
        "sort": {"type": "string"},
        "user_id": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
        "title": {
            "type": "array",
            "items": {"type": "string", "maxLength": 80},
            "minItems": 1,
            "maxItems": 100,
        },
        "color": {"type": "string", "enum": [color.name for color in Color]},
        "since": {"type": "string", "format": "date-time"},
    }
    by_name = {parameter["name"]: parameter for parameter in parameters}
    assert "id, title" in by_name["sort"]["description"]


@pytest.fixture
def database() -> Iterator[Any]:
    """Fill the database of an application of any class."""
    used = []

    def fill(app: Any) -> Any:
        used.append(app)
        with app.app_context():
            db.create_all()
            add_documents(5)
        return app.test_client()

    yield fill
    for app in used:
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


def configured(app: Any, *, answers_problems: bool = True) -> Any:
    app.config.update(
        TESTING=True,
        SECRET_KEY="of the recipes",
        SQLALCHEMY_DATABASE_URI="sqlite://",
        API_TITLE="paging",
        API_VERSION="1",
        OPENAPI_VERSION="3.0.3",
    )
    db.init_app(app)
    # Else both frameworks put every HTTP error into their own envelope.
    if answers_problems:
        app.register_error_handler(ParameterError, ParameterError.get_response)
    return app


def check_pages(client: Any) -> None:
    """Read pages in both ways, and ask for something that is not there."""
    page = client.get("/documents?page=2&page_size=2&sort=-id").json
    assert [item["id"] for item in page["items"]] == [3, 2]
    assert page["total_pages"] == 3
    first = client.get("/feed?page_size=2").json
    second = client.get("/feed", query_string={"page_size": 2, "cursor": first["next_cursor"]})
    assert [item["id"] for item in second.json["items"]] == [3, 4]
    bad = client.get("/documents?sort=nope")
    assert (bad.status_code, bad.content_type) == (400, "application/problem+json")
    assert list(bad.json["errors"]) == ["sort"]
    assert client.get("/documents?page_size=1000").status_code in (400, 422)
    assert client.get("/feed?cursor=nope").json["errors"].keys() == {"cursor"}


def test_flask_smorest(database: Any) -> None:
    from flask import Flask
    from flask_smorest import Api, Blueprint

    app = configured(Flask("smorest"))
    blueprint = Blueprint("documents", "documents")

    @blueprint.get("/documents")
    @blueprint.arguments(PaginationParamsSchema, location="query")
    @blueprint.response(200, page_schema(DocumentSchema))
    def documents(arguments: dict[str, Any]) -> Any:
        return paginate(select(Document), PaginationParams(**arguments), sortable=SORTABLE)

    @blueprint.get("/feed")
    @blueprint.arguments(CursorParamsSchema, location="query")
    @blueprint.response(200, cursor_page_schema(DocumentSchema))
    def feed(arguments: dict[str, Any]) -> Any:
        return paginate(select(Document), CursorParams(**arguments), sortable=SORTABLE)

    api = Api(app)
    api.register_blueprint(blueprint)
    check_pages(database(app))
    assert "DocumentPage" in api.spec.to_dict()["components"]["schemas"]
    assert "DocumentCursorPage" in api.spec.to_dict()["components"]["schemas"]


def test_apiflask(database: Any) -> None:
    from apiflask import APIFlask

    app = configured(APIFlask("apiflask"))

    @app.get("/documents")
    @app.input(PaginationParamsSchema, location="query", arg_name="arguments")
    @app.output(page_schema(DocumentSchema))
    def documents(arguments: dict[str, Any]) -> Any:
        return paginate(select(Document), PaginationParams(**arguments), sortable=SORTABLE)

    @app.get("/feed")
    @app.input(CursorParamsSchema, location="query", arg_name="arguments")
    @app.output(cursor_page_schema(DocumentSchema))
    def feed(arguments: dict[str, Any]) -> Any:
        return paginate(select(Document), CursorParams(**arguments), sortable=SORTABLE)

    check_pages(database(app))
    spec: Any = app.spec
    assert "DocumentPageSchema" in spec["components"]["schemas"]


def test_the_decorator_answers_by_itself_in_both(database: Any) -> None:
    from flask import Flask
    from flask_smorest import Api, Blueprint

    app = configured(Flask("decorated"))
    blueprint = Blueprint("documents", "documents")

    @blueprint.get("/documents")
    @blueprint.response(200, page_schema(DocumentSchema))
    @paginated(DocumentSchema, sortable=SORTABLE)
    def documents() -> Any:
        return select(Document)

    Api(app).register_blueprint(blueprint)
    response = database(app).get("/documents?sort=-title&page_size=2")
    assert [item["id"] for item in response.json["items"]] == [5, 4]
    assert 'rel="next"' in response.headers["Link"]


def _listed() -> Any:
    @paginated(DocumentSchema, sortable=SORTABLE, filters={"id": Document.id})
    def documents() -> Any:
        return select(Document)

    return documents


def check_description(operation: Any, schemas: Any) -> None:
    """The parameters and the 400 are there, though the view says nothing of them itself."""
    names = {parameter["name"] for parameter in operation["parameters"]}
    assert names == {"page", "page_size", "sort", "cursor", "id"}
    problem = operation["responses"]["400"]["content"]["application/problem+json"]["schema"]
    assert "errors" in schemas[problem["$ref"].rpartition("/")[2]]["properties"]


def test_flask_smorest_describes_a_decorated_view() -> None:
    from flask import Flask
    from flask_smorest import Api, Blueprint

    app = configured(Flask("smorest"))
    blueprint = Blueprint("documents", "documents")
    view = blueprint.response(200, page_schema(DocumentSchema))(_listed())
    blueprint.get("/documents")(view)
    api = Api(app)
    api.register_blueprint(blueprint)
    found = api.spec.to_dict()
    check_description(found["paths"]["/documents"]["get"], found["components"]["schemas"])
    assert "200" in found["paths"]["/documents"]["get"]["responses"]


def test_apiflask_describes_a_decorated_view() -> None:
    from apiflask import APIFlask

    app = configured(APIFlask("apiflask"))
    app.get("/documents")(_listed())
    app.get("/pages", endpoint="pages")(app.output(page_schema(DocumentSchema))(_listed()))
    found: Any = app.spec
    for path in ("/documents", "/pages"):
        check_description(found["paths"][path]["get"], found["components"]["schemas"])
        assert "200" in found["paths"][path]["get"]["responses"]


def test_apispec_describes_a_decorated_view(spec: APISpec) -> None:
    spec.path("/documents", operations={"get": openapi_operation(_listed())})
    found = spec.to_dict()
    operation = found["paths"]["/documents"]["get"]
    check_description(operation, found["components"]["schemas"])
    pages = operation["responses"]["200"]["content"]["application/json"]["schema"]["oneOf"]
    assert [page["$ref"].rpartition("/")[2] for page in pages] == [
        "DocumentPage",
        "DocumentCursorPage",
    ]
    with pytest.raises(TypeError, match="no view under @paginated"):
        openapi_operation(print)


def test_flask_restx_answers_a_problem(database: Any) -> None:
    from flask import Flask
    from flask_restx import Api, Resource

    app = configured(Flask("restx"), answers_problems=False)
    api = Api(app)

    @api.route("/documents")
    class Documents(Resource):  # type: ignore[misc,unused-ignore]
        @paginated(DocumentSchema, sortable=SORTABLE)
        def get(self) -> Any:
            return select(Document)

    client = database(app)
    assert [item["id"] for item in client.get("/documents?sort=-id&page_size=2").json["items"]] == [
        5,
        4,
    ]
    for query in ("sort=nope", "cursor=nope"):
        bad = client.get(f"/documents?{query}")
        assert (bad.status_code, bad.content_type) == (400, "application/problem+json")
        assert list(bad.json["errors"]) == [query.partition("=")[0]]
