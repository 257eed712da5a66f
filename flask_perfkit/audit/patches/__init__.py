"""Fixes written into the source, each tried on the request before it is offered."""
