import pytest
from flaskr import create_app
from flaskr.models import Post, User, db


@pytest.fixture
def app(tmp_path):
    """Create and configure a new app instance for each test."""
    url = f"sqlite:///{tmp_path / 'test.sqlite'}"
    app = create_app({"TESTING": True, "SQLALCHEMY_DATABASE_URI": url})
    with app.app_context():
        db.create_all()
        for name in ("test", "other"):
            user = User(username=name)
            user.set_password(name)
            db.session.add(user)
            db.session.add(Post(title=f"title of {name}", body="test\nbody", author=user))
        db.session.commit()
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def client(app):
    """A test client for the app."""
    return app.test_client()


@pytest.fixture
def login(client):
    """Log in as the user ``test``."""
    return client.post("/auth/login", data={"username": "test", "password": "test"})
