"""Planners: what a database says that a statement costs, with these indexes and without those."""
