"""`geoscope fetch` hands the name to the library and prints where the file is."""

import pytest

from geoscope.errors import DownloadError


def test_the_path_of_what_was_fetched_is_printed(run, tmp_path, monkeypatch):
    def pretend(name, progress):
        progress("fetching", 0.5)
        return tmp_path / f"{name}.pt"

    monkeypatch.setattr("geoscope.zoo.fetching.fetch", pretend)
    result = run("fetch", "earthformer-sevir")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path}/earthformer-sevir.pt\n"


def test_without_a_network_there_is_one_line(refused, monkeypatch):
    def pretend(name, progress):
        raise DownloadError("no connection to example.org; check the network")

    monkeypatch.setattr("geoscope.zoo.fetching.fetch", pretend)
    assert (
        refused("fetch", "earthformer-sevir") == "geoscope: no connection to example.org; check the network\n"
    )


@pytest.mark.parametrize(
    ("name", "words"), [("oracle", "no model is called"), ("persistence", "has no weights")]
)
def test_what_cannot_be_fetched_is_refused(refused, name, words):
    assert words in refused("fetch", name)
