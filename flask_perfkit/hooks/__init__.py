"""What watches Flask and SQLAlchemy: each hook only feeds the recorder."""
