"""Where a store is kept: in the memory of the process, in an SQLite file, in Redis."""
