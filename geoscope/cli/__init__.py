"""The command line: thin, every command calls the library. `geoscope --help` says what there is."""

from geoscope.cli.app import app, main

__all__ = ["app", "main"]
