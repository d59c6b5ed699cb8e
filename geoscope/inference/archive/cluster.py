"""Where the forecasts of an archive are made: in this process, in processes of this machine, or on a dask cluster.

torch holds the interpreter between its operations and sets its threads for a whole process, so local workers are
processes with one thread each, not threads. They and their scheduler listen on the loopback address unless told
otherwise, and without a dashboard: what a worker is sent, it runs.
"""

import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from geoscope import __version__
from geoscope.errors import ConfigError, DataError, MissingExtraError

LOOPBACK = "127.0.0.1"
LOCAL = "local"
WAITING_PER_WORKER = (
    2  # tasks handed out before the first is done: a worker never waits, the queue stays short
)
_CONNECT_SECONDS = 10

Given = TypeVar("Given")
Got = TypeVar("Got")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Workers that share the forecasts of an archive.

    `address` is that of a running dask scheduler ("tcp://10.0.0.5:8786"), whose workers must see the archive and the
    store under the same paths, or "local" for `workers` processes of this machine (default: its cores over the
    threads of a forecast) that listen on `host`.
    """

    address: str = LOCAL
    workers: int | None = None
    host: str = LOOPBACK

    def __post_init__(self) -> None:
        if self.workers is not None and (isinstance(self.workers, bool) or self.workers < 1):
            raise ConfigError(f"workers={self.workers!r} must be a whole number, 1 or more")
        if self.workers is not None and self.address != LOCAL:
            raise ConfigError(
                f"workers={self.workers} is for a local cluster; the one at {self.address} has its own workers"
            )


@contextmanager
def connect(cluster: Cluster, threads: int) -> Iterator[Any]:
    """A dask client on the cluster; a local one ends with the block.

    Raises:
        MissingExtraError: dask.distributed is not installed.
        ConfigError: nobody answers at the address, or its workers run another geoscope.
    """
    try:
        from dask.distributed import Client, LocalCluster
    except ImportError as error:
        raise MissingExtraError(
            "--dask needs dask.distributed, which is not installed: pip install 'geoscope[scale]', or drop --dask"
        ) from error
    if cluster.address != LOCAL:
        with _client(Client, cluster.address) as client:
            _check_versions(client, cluster.address)
            yield client
        return
    count = cluster.workers or max(1, (os.cpu_count() or 1) // threads)
    start: Any = LocalCluster  # typed as if it always had a dashboard
    try:
        local = start(
            n_workers=count, threads_per_worker=1, processes=True, host=cluster.host,
            dashboard_address=None, silence_logs=logging.CRITICAL,
        )  # fmt: skip
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"no workers could be started on host={cluster.host!r}: {_reason(error)}"
        ) from error
    with local, _client(Client, local) as client:
        client.register_plugin(_deaf_to_interrupts())
        yield client


def _deaf_to_interrupts() -> Any:
    """Keep Ctrl-C in a terminal, which reaches every process there, for the one that can answer it."""
    from dask.distributed import WorkerPlugin

    class DeafToInterrupts(WorkerPlugin):
        """Set up in the main thread of each worker, those that replace a dead one included."""

        def setup(self, worker: Any) -> None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    return DeafToInterrupts()


def _client(make: Any, where: Any) -> Any:
    try:
        return make(where, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ConfigError(
            f"--dask {where}: no dask scheduler answers there ({_reason(error)}); start one with dask scheduler, "
            "or say --dask local"
        ) from error


def _reason(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:120]


def _version() -> str:
    return __version__


def _check_versions(client: Any, address: str) -> None:
    try:
        found = set(client.run(_version).values())
    except Exception as error:
        raise ConfigError(
            f"--dask {address}: its workers cannot import geoscope {__version__} ({_reason(error)}); install it there"
        ) from error
    if not found:
        raise ConfigError(f"--dask {address}: the scheduler has no workers; start some with dask worker")
    if found != {__version__}:
        raise ConfigError(
            f"--dask {address}: its workers run geoscope {', '.join(sorted(found))}, here it is {__version__}; "
            "install the same version"
        )


def each(
    client: Any,
    work: Callable[[Any, Given], Got],
    shared: Any,
    given: Iterable[Given],
    label: Callable[[Given], str],
) -> Iterator[Got]:
    """What ``work(shared, one)`` gives for each of ``given``, as it comes; only a few wait at the workers at a time.

    Raises:
        DataError: a worker died over the same one again and again; ``label`` names it. And what ``work`` raises.
    """
    from dask.distributed import KilledWorker, as_completed

    waiting = iter(given)
    common = client.scatter(shared, broadcast=True, hash=False)
    running: dict[Any, Given] = {}
    done = as_completed([], loop=client.loop)

    def hand_out() -> None:
        one = next(waiting, None)
        if one is not None:
            future = client.submit(work, common, one, pure=False, retries=0)
            running[future] = one
            done.add(future)

    try:
        for _ in range(WAITING_PER_WORKER * max(1, len(client.nthreads()))):
            hand_out()
        for future in done:
            one = running.pop(future)
            try:
                result = future.result()
            except KilledWorker as error:
                raise DataError(
                    f"the workers died over {label(one)} again and again, as they do when memory runs out: "
                    "give fewer --workers, or a smaller cut"
                ) from error
            hand_out()
            yield result
    finally:
        client.cancel(list(running), force=True)
