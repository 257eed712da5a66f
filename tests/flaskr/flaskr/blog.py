from flask import Blueprint, abort, flash, g, redirect, render_template, request, url_for

from flaskr.auth import login_required
from flaskr.models import Post, db

bp = Blueprint("blog", __name__)


@bp.route("/")
def index():
    """Show all the posts, most recent first."""
    posts = db.session.scalars(db.select(Post).order_by(Post.created.desc())).all()
    return render_template("blog/index.html", posts=posts)


def get_post(id, check_author=True):
    """Get a post; the user has to be its author."""
    post = db.get_or_404(Post, id, description=f"Post id {id} doesn't exist.")
    if check_author and post.author != g.user:
        abort(403)
    return post


@bp.route("/create", methods=("GET", "POST"))
@login_required
def create():
    """Create a new post for the current user."""
    if request.method == "POST":
        title, body = request.form["title"], request.form["body"]
        if not title:
            flash("Title is required.")
        else:
            db.session.add(Post(title=title, body=body, author=g.user))
            db.session.commit()
            return redirect(url_for("blog.index"))
    return render_template("blog/form.html", post=None)


@bp.route("/<int:id>/update", methods=("GET", "POST"))
@login_required
def update(id):
    """Update a post if the current user is its author."""
    post = get_post(id)
    if request.method == "POST":
        title, body = request.form["title"], request.form["body"]
        if not title:
            flash("Title is required.")
        else:
            post.title, post.body = title, body
            db.session.commit()
            return redirect(url_for("blog.index"))
    return render_template("blog/form.html", post=post)


@bp.route("/<int:id>/delete", methods=("POST",))
@login_required
def delete(id):
    """Delete a post."""
    db.session.delete(get_post(id))
    db.session.commit()
    return redirect(url_for("blog.index"))
