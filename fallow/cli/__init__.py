"""The command line: the engine for people at a terminal and for scripts. May import everything; heavy things only inside commands."""

from fallow.cli.app import app
from fallow.cli.ending import main

__all__ = ["app", "main"]
