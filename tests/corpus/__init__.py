"""Views with known problems and views without: what detection is judged by."""
