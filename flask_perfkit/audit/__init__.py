"""The audit: what an application's own endpoints show when each is asked once."""
