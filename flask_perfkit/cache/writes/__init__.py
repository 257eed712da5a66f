"""What this process changes in its databases, followed until it is committed."""
