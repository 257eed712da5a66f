"""The detectors, one file a kind of finding: pure functions of a profile.

A new kind is a new file, a line in ``detection.py``, and its severity in ``recording/findings.py``.
"""
