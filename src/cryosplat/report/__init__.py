"""Pictures of a finished run."""

from . import _plain_matplotlib  # noqa: F401 (before anything imports matplotlib)
