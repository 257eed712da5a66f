"""The cache, and the count of what it answers."""
