"""What a statement asks of each table, read from SQLAlchemy's own tree."""
