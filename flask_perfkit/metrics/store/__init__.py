"""Where figures are counted, by one process or by all workers."""
