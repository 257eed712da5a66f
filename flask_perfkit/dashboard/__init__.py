"""Pages that show what the store holds: what is slow, why, and the line to change.

``mount`` puts them among the application's routes, ``guard`` says who may see them and what may be
changed. Each file of ``views`` reads what one page shows, as plain data, which ``rendering`` makes
HTML or JSON of; ``charts`` and ``waterfall`` are the geometry of its pictures. ``badge`` is the one
thing that is put on pages of the application itself.
"""
