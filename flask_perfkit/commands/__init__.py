"""The ``flask perfkit`` commands, one file each: each only calls a function that a user may call.

A new command is a new file and a line here.
"""

from flask_perfkit.commands import audit, fix, indexes, monitoring, report, system
from flask_perfkit.commands.group import perfkit

__all__ = ["audit", "fix", "indexes", "monitoring", "perfkit", "report", "system"]
