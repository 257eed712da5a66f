"""The source that is mended, read as a tree: places, loops, names, effects."""
