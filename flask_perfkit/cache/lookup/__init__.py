"""The way of a call: the entry is read, or its value is made and stored."""
