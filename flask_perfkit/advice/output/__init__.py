"""Advice written down: as a report, as a revision, as lines of the models."""
