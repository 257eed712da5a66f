"""Queries of a loop sent once before it, and their answers looked up."""
