"""Finds, explains, proves and prevents the performance problems of a Flask application."""
