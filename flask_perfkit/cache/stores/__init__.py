"""Where entries and tokens lie, and what keeps a store that is gone from hurting."""
