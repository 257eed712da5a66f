"""The statement that is paged, and those derived from it: pages and totals."""
