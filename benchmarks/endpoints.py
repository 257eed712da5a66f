"""Which of the application's addresses are asked for what."""

ENDPOINTS = {
    "no query": "/plain",
    "1 query": "/one",
    "10 queries": "/ten",
    "list of 50": "/list",
    "N+1 of 101": "/n-plus-one",
}

GROWING = {
    "requests": ("/one", 1),
    "distinct URLs of a route": ("/documents/{}", 1),
    "distinct URLs of no route": ("/nothing/{}", 1),
    "distinct SQL texts": ("/texts/{}0", 10),
}
"""What there is ever more of: the path with a place for a number, and how many it brings."""
