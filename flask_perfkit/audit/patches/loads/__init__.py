"""Loader options put on the select, or loaded before the loop."""
