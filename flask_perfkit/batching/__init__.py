"""Loads lazy relationships for many objects at once, once a loop shows."""

from flask_perfkit.batching.listener import auto_batch, batch_lazy_loads

__all__ = ["auto_batch", "batch_lazy_loads"]
