"""What an entry is made of: its key, its value as JSON, what it depends on, all of it as bytes."""
