"""A request is asked again with limits, and nothing that it does to a database is kept."""
