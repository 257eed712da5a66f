import pytest
from flaskr.models import Post, db


def test_index(client):
    page = client.get("/").text
    assert "Log In" in page
    assert "by test on" in page
    assert "by other on" in page


def test_index_of_a_user(client, login):
    page = client.get("/").text
    assert "Log Out" in page
    assert 'href="/1/update"' in page
    assert 'href="/2/update"' not in page


@pytest.mark.parametrize("path", ["/create", "/1/update"])
def test_login_required(client, path):
    assert client.post(path).headers["Location"] == "/auth/login"


def test_author_required(client, login):
    assert client.post("/2/update").status_code == 403
    assert client.post("/9/delete").status_code == 404


def test_create(client, login, app):
    assert client.get("/create").status_code == 200
    client.post("/create", data={"title": "created", "body": ""})
    with app.app_context():
        assert db.session.scalar(db.select(db.func.count()).select_from(Post)) == 3


def test_update(client, login, app):
    client.post("/1/update", data={"title": "updated", "body": ""})
    with app.app_context():
        assert db.session.get(Post, 1).title == "updated"


def test_delete(client, login, app):
    assert client.post("/1/delete").headers["Location"] == "/"
    with app.app_context():
        assert db.session.get(Post, 1) is None


def test_register(client):
    answer = client.post("/auth/register", data={"username": "new", "password": "new"})
    assert answer.headers["Location"] == "/auth/login"
