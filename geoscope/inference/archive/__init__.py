"""Forecasts for every issue time of a long archive: one process or many, stopped and gone on with at will."""

from geoscope.inference.archive.cluster import Cluster
from geoscope.inference.archive.plan import ArchiveSettings
from geoscope.inference.archive.run import ArchiveRun, run_archive
from geoscope.inference.archive.store import open_forecast

__all__ = ["ArchiveRun", "ArchiveSettings", "Cluster", "open_forecast", "run_archive"]
