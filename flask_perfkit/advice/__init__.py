"""Advice on indexes: from the statements of a workload to a revision that was tried."""
