"""The same archive on several processes: the same bits, bound to this machine."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from geoscope.errors import ConfigError, DataError, MissingExtraError
from geoscope.inference.archive import ArchiveSettings, Cluster, cluster, run_archive
from tests.inference.archive.archives import LEADS, forecasts

SETTINGS = ArchiveSettings(every="1h", model="extrapolation", lead_steps=LEADS, history=4, verify=True)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A local cluster of two workers, started as a run starts it."""
    dask = pytest.MonkeyPatch()
    dask.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    __import__("dask").config.refresh()
    with cluster.connect(Cluster(workers=2), threads=1) as found:
        yield found
    dask.undo()
    __import__("dask").config.refresh()


def test_workers_listen_on_the_loopback_address_only(client):
    addresses = [client.scheduler.address, *client.nthreads()]
    assert len(addresses) == 3
    assert all(address.startswith("tcp://127.0.0.1:") for address in addresses)
    assert set(client.nthreads().values()) == {1}
    assert len(set(client.run(os.getpid).values())) == 2


def test_two_workers_leave_the_bits_of_one_process(client, archive, tmp_path):
    heard: list[float] = []
    alone = run_archive(archive, tmp_path / "one.zarr", SETTINGS)
    shared = run_archive(
        archive, tmp_path / "two.zarr", SETTINGS, cluster=Cluster(address=client.scheduler.address),
        progress=lambda stage, share: heard.append(share),
    )  # fmt: skip
    assert shared.made == alone.made == 2
    np.testing.assert_array_equal(forecasts(shared.store), forecasts(alone.store))
    assert shared.scores.drop_attrs().identical(alone.scores.drop_attrs())
    assert shared.scores.attrs["csi_mean"] == alone.scores.attrs["csi_mean"]
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    again = run_archive(
        archive, shared.store, replace(SETTINGS), cluster=Cluster(address=client.scheduler.address)
    )
    assert (again.made, again.found) == (0, 2)


# What workers are to run stands inside the tests, so that it travels by value: they cannot import a test.


def test_each_hands_out_everything_and_gives_it_back(client):
    given = cluster.each(client, lambda shared, one: shared * one, 2, range(20), str)
    assert sorted(given) == [2 * i for i in range(20)]


def test_an_error_of_the_work_arrives_as_it_is(client):
    def refuse(shared: int, one: int) -> int:
        raise DataError(f"{one} is refused")

    with pytest.raises(DataError, match="3 is refused"):
        list(cluster.each(client, refuse, 2, [3], str))


def test_a_worker_that_dies_is_told_by_what_it_worked_on(client):
    def die(shared: int, one: int) -> int:
        os._exit(1)

    with pytest.raises(
        DataError, match=r"the workers died over number 7 again and again.*give fewer --workers"
    ):
        list(cluster.each(client, die, 2, [7], lambda one: f"number {one}"))


def test_workers_of_another_version_are_refused(client, archive, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "__version__", "9.9")
    with pytest.raises(
        ConfigError, match=r"its workers run geoscope \d.*, here it is 9.9; install the same version"
    ):
        run_archive(archive, tmp_path / "x.zarr", SETTINGS, cluster=Cluster(address=client.scheduler.address))
    assert list(tmp_path.iterdir()) == []


class Answers:
    """A client whose workers answer as told."""

    def __init__(self, answer: dict[str, str] | Exception) -> None:
        self.answer = answer

    def run(self, function: object) -> dict[str, str]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ({}, "--dask tcp://a:1: the scheduler has no workers; start some with dask worker"),
        (
            ModuleNotFoundError("No module named 'geoscope'"),
            r"its workers cannot import geoscope .*No module named",
        ),
    ],
)
def test_a_cluster_that_cannot_work_is_refused(answer, line):
    with pytest.raises(ConfigError, match=line):
        cluster._check_versions(Answers(answer), "tcp://a:1")


def test_an_address_without_a_scheduler_is_refused(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 0.2)
    with pytest.raises(
        ConfigError, match=r"--dask tcp://127.0.0.1:9: no dask scheduler answers there .* --dask local"
    ):
        run_archive(archive, tmp_path / "x.zarr", SETTINGS, cluster=Cluster(address="tcp://127.0.0.1:9"))
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_is_not_of_this_machine_is_refused(archive, tmp_path):
    with pytest.raises(ConfigError, match=r"no workers could be started on host='192.0.2.1'"):
        run_archive(archive, tmp_path / "x.zarr", SETTINGS, cluster=Cluster(workers=1, host="192.0.2.1"))


def test_without_distributed_the_extra_is_named(archive, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(MissingExtraError, match=r"--dask needs dask.distributed, .* 'geoscope\[scale\]'"):
        run_archive(archive, tmp_path / "x.zarr", SETTINGS, cluster=Cluster())


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"workers": 0}, "workers=0 must be a whole number, 1 or more"),
        (
            {"workers": 2, "address": "tcp://10.0.0.5:8786"},
            "workers=2 is for a local cluster; the one at tcp://10",
        ),
    ],
)
def test_workers_that_cannot_be_are_refused(options, line):
    with pytest.raises(ConfigError, match=line):
        Cluster(**options)
