"""The errors that geoscope raises on purpose, each with one clear line for the person who reads it.

The command line and the apps show the message of a `GeoscopeError` as it is, without a traceback;
anything else that escapes is a bug.
"""


class GeoscopeError(Exception):
    """Base of every error that geoscope raises on purpose."""


class DataError(GeoscopeError, ValueError):
    """A file or a field cannot be used: names the file, what was expected, what came and the cure."""


class ShapeError(GeoscopeError, ValueError):
    """An array has the wrong shape: names the axis, the length and what to do."""


class ConfigError(GeoscopeError, ValueError):
    """An option has a value that cannot work, or that geoscope does not carry."""


class WeightsError(GeoscopeError, RuntimeError):
    """Weights are missing, damaged, of another model, or fail their self-check."""


class DownloadError(GeoscopeError, OSError):
    """A file could not be fetched whole; nothing half-written is left behind."""


class MissingExtraError(GeoscopeError, ImportError):
    """An optional dependency is missing: names the extra to install."""


class Cancelled(GeoscopeError):
    """The user asked to stop; nothing was written."""


class TrainingError(GeoscopeError, RuntimeError):
    """A training run cannot go on: says at which step, why, what was saved and what to do."""
