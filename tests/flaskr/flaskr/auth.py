import functools

from flask import Blueprint, flash, g, redirect, render_template, request, session, url_for

from flaskr.models import User, db

bp = Blueprint("auth", __name__, url_prefix="/auth")


def login_required(view):
    """View decorator that redirects anonymous users to the login page."""

    @functools.wraps(view)
    def wrapped_view(**kwargs):
        if g.user is None:
            return redirect(url_for("auth.login"))
        return view(**kwargs)

    return wrapped_view


@bp.before_app_request
def load_logged_in_user():
    """Load the user of the session, if any, into ``g.user``."""
    user_id = session.get("user_id")
    g.user = db.session.get(User, user_id) if user_id is not None else None


@bp.route("/register", methods=("GET", "POST"))
def register():
    """Register a new user."""
    if request.method == "POST":
        username, password = request.form["username"], request.form["password"]
        if not username or not password:
            flash("Username and password are required.")
        elif db.session.scalar(db.select(User).where(User.username == username)):
            flash(f"User {username} is already registered.")
        else:
            user = User(username=username)
            user.set_password(password)
            db.session.add(user)
            db.session.commit()
            return redirect(url_for("auth.login"))
    return render_template("auth/form.html", title="Register")


@bp.route("/login", methods=("GET", "POST"))
def login():
    """Log in a registered user."""
    if request.method == "POST":
        username, password = request.form["username"], request.form["password"]
        user = db.session.scalar(db.select(User).where(User.username == username))
        if user is None or not user.check_password(password):
            flash("Incorrect username or password.")
        else:
            session.clear()
            session["user_id"] = user.id
            return redirect(url_for("index"))
    return render_template("auth/form.html", title="Log In")


@bp.route("/logout")
def logout():
    """Clear the current session."""
    session.clear()
    return redirect(url_for("index"))
