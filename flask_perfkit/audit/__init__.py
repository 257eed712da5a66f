"""The audit: what an application's own endpoints show when each is asked once."""

from flask_perfkit.advice.advise import advise
from flask_perfkit.advice.workload import Workload

__all__ = ["Workload", "advise"]
