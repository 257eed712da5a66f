"""The cache: which tables it depends on, where it lives, how often it helps."""
