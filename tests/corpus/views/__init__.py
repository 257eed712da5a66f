"""One module a theme; each is the whole of a small application."""
