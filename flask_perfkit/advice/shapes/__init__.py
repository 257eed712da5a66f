"""Statements that are known as text only, read into SQLAlchemy's trees."""
