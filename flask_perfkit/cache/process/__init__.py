"""The process that the cache runs in: its log, its threads' locks, and its forked children."""
