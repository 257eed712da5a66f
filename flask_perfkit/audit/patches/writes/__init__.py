"""Writes of a loop sent as one."""
