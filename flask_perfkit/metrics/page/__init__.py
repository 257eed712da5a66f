"""What Prometheus is shown: the figures of all workers, and what is read when it asks."""
