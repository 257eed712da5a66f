"""Cursors: signed, bound to their query, encrypted where they carry what must not be read."""
