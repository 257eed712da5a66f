"""The ``flask perfkit`` commands, one file each: each only calls a function that a user may call.

A new command is a new file, and its name in the group.
"""

from flask_perfkit.commands.group import perfkit

__all__ = ["perfkit"]
