"""An archive of twenty files, made once for all tests that only read it."""

from pathlib import Path

import pytest

from tests.inference.archive.archives import rain_field, write_archive


@pytest.fixture(scope="session")
def archive(tmp_path_factory) -> Path:
    """A folder with twenty frames, ten minutes apart, none missing."""
    return write_archive(tmp_path_factory.mktemp("radar") / "whole", rain_field())


@pytest.fixture(scope="session")
def archive_with_a_gap(tmp_path_factory) -> Path:
    """The same folder without frame 9 (01:30)."""
    return write_archive(tmp_path_factory.mktemp("radar") / "gap", rain_field(), missing=(9,))
