"""What mends a statement, built from the statement as SQLAlchemy holds it, never from its text."""
