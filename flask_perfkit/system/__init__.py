"""Figures of the process and its host."""
