"""Cursors: signed, bound to their statement, sealed where they would tell."""
