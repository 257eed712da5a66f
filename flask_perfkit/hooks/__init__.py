"""What watches Flask, SQLAlchemy and Redis: each hook feeds the recorder and judges nothing."""
