"""Keeps what happened, within bounds: totals of all requests, and the profiles worth a look."""
