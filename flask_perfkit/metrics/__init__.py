"""Figures for Prometheus: counted at the end of each request, summed over all workers when asked.

Each process has rows of doubles (``rows``), in memory or in a file that the others read
(``directory``). ``figures`` counts into them, ``totals`` adds them up, ``families`` names them.
"""
