"""Fill the blog with posts of many authors."""

from flaskr import create_app
from flaskr.models import Post, User, db

with create_app().app_context():
    for number in range(20):
        user = User(username=f"user {number}", password="")
        db.session.add(Post(title=f"Post {number}", body="Hello", author=user))
    db.session.commit()
