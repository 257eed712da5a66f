"""Figures for Prometheus: counted at the end of each request, summed over all workers when asked.

Each process has rows of doubles (``store/rows.py``), in memory or in a file that the others read
(``store/directory.py``). ``store/figures.py`` counts into them, ``page/totals.py`` adds them up,
``page/families.py`` names them.
"""
