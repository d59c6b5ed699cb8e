"""Calling pysteps from a library: quiet, one at a time, cancellable, with its faults as one line.

pysteps (Pulkkinen et al. 2019) prints as it goes, warns, seeds numpy's global generator and hands work to dask. Here it
runs under a lock with its words caught: they drive the progress and are where a cancel is heard. Numpy's global
generator is put back as it was, and dask stays in this thread, so that a forecast has the same bits everywhere.
"""

import io
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from importlib import import_module
from typing import Any

import numpy as np

from geoscope.errors import DataError, GeoscopeError, MissingExtraError
from geoscope.zoo.cards import ModelCard

Progress = Callable[[str, float], None]

DRY_MM_H = 0.1  # rain below it is none, as in pysteps' own examples
DRY_DB = -10.0  # the same in dB of the rain rate
ZERO_DB = -15.0  # what stands for no rain on the dB scale
MOTION_FRAMES = 4
PACKAGES = ("pysteps", "cv2", "skimage")
SECONDS_BETWEEN_LOOKS_AT_THE_LOCK = 0.1

_LOCK = threading.Lock()  # stdout, warnings and numpy's generator are of the whole process
_TIME_STEP = re.compile(r"time step (\d+)")


def require_pysteps(name: str) -> None:
    """Import what the model ``name`` needs.

    Raises:
        MissingExtraError: pysteps or a package that it needs is not installed.
    """
    try:
        with _LOCK, _caught(_Words(lambda words: None)):
            for package in PACKAGES:
                import_module(package)
    except ImportError as error:
        missing = (error.name or "pysteps").split(".")[0]
        raise MissingExtraError(
            f"{name} needs the extra radar ({missing} is not installed): pip install 'geoscope[radar]'"
        ) from None


def run(name: str, stage: str, lead_steps: int, progress: Progress, work: Callable[[], Any]) -> Any:
    """What ``work()``, a call of pysteps by the model ``name``, returns.

    ``progress(stage, share)`` is called whenever pysteps prints, with the share of ``lead_steps`` it has reached, and
    may raise `Cancelled`; what pysteps does between two prints cannot be interrupted.

    Raises:
        DataError: pysteps cannot work with the field; the message says why.
        Cancelled: ``progress`` asked to stop.
    """
    share = 0.0

    def hear(words: str) -> None:
        nonlocal share
        found = _TIME_STEP.search(words)
        if found:
            share = min(max(share, (int(found.group(1)) - 1) / lead_steps), 1.0)
        progress(stage, share)

    progress(stage, 0.0)
    while not _LOCK.acquire(timeout=SECONDS_BETWEEN_LOOKS_AT_THE_LOCK):
        progress("waiting for another run of pysteps to end", 0.0)
    try:
        with _caught(_Words(hear)):
            return work()
    except (GeoscopeError, MemoryError):
        raise
    except Exception as error:  # whatever pysteps, scipy or OpenCV trips over, the user needs the cure
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(
            f"{name} cannot forecast this field (pysteps: {reason}); use model='extrapolation'"
        ) from error
    finally:
        _LOCK.release()


class _Words(io.TextIOBase):
    """A stdout that hands what its own thread prints to ``hear`` and lets other threads print as ever."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        self._hear, self._real = hear, sys.stdout
        self._thread = threading.get_ident()

    def write(self, text: str) -> int:
        """Hear or pass on ``text``."""
        if threading.get_ident() != self._thread:
            return self._real.write(text)
        self._hear(text)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back here."""
        if threading.get_ident() != self._thread:
            self._real.flush()


@contextmanager
def _caught(words: _Words) -> Iterator[None]:
    """Words to ``words``, no warnings, dask in this thread, numpy's global generator as it was."""
    state = np.random.get_state()  # noqa: NPY002 - pysteps seeds it; it is put back below
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(words))  # type: ignore[type-var]
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(np.errstate(all="ignore"))
        try:
            dask_config = import_module("dask.config")
        except ImportError:
            pass  # then pysteps does without
        else:
            stack.enter_context(dask_config.set(scheduler="synchronous"))
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002


def check_frames(name: str, past: np.ndarray, *, needs_memory: bool) -> None:
    """Refuse a history (T, H, W) that pysteps would answer with nonsense.

    Raises:
        DataError: one of the last four frames has no data, or ``needs_memory`` and it is dry while the last is not:
            then nothing tells how fast rain of each scale changes.
    """
    recent = past[-MOTION_FRAMES:]
    for index, frame in enumerate(recent):
        back = len(recent) - 1 - index
        if not np.isfinite(frame).any():
            raise DataError(
                f"{name} needs data in each of the last {len(recent)} frames, the one {back} before the issue time "
                "has none: choose another issue time, or fill the gap when opening the files"
            )
        if needs_memory and is_dry(frame) and not is_dry(past[-1]):
            raise DataError(
                f"{name} needs rain in each of the last {len(recent)} frames, the one {back} before the issue time "
                "is dry: choose a later issue time or use model='extrapolation'"
            )


def is_dry(rain: np.ndarray) -> bool:
    """Whether no pixel reaches `DRY_MM_H`."""
    return not (rain >= DRY_MM_H).any()


def dry_forecast(shape: tuple[int, ...], last: np.ndarray) -> np.ndarray:
    """No rain, in an array of ``shape`` (..., H, W), with NaN where ``last`` (H, W) has no data."""
    return np.broadcast_to(np.where(np.isnan(last), np.float32(np.nan), np.float32(0.0)), shape).copy()


def rain_to_db(rain: np.ndarray) -> np.ndarray:
    """10 log10 of rain in mm/h, `ZERO_DB` below `DRY_MM_H`; NaN reads as dry."""
    known = np.nan_to_num(rain)
    return np.where(known < DRY_MM_H, ZERO_DB, 10.0 * np.log10(np.maximum(known, DRY_MM_H))).astype(
        rain.dtype
    )


def db_to_rain(decibel: np.ndarray) -> np.ndarray:
    """Rain in mm/h, 0 at `DRY_DB` and below; NaN stays."""
    rain = 10.0 ** (decibel / 10.0)
    rain[decibel <= DRY_DB] = 0.0
    return rain


def motion_of(decibel: np.ndarray) -> np.ndarray:
    """Motion (2, H, W), x then y, in pixels a frame, by pysteps' Lucas-Kanade on the last four of (T, H, W)."""
    from pysteps import motion

    return motion.get_method("LK")(decibel[-MOTION_FRAMES:])


def carry_missing(forecast: np.ndarray, last: np.ndarray, velocity: np.ndarray) -> np.ndarray:
    """``forecast`` (..., L, H, W) with NaN where all air comes from pixels that are NaN in ``last`` (H, W).

    At the rim, where only some of it does, the forecast stands: missing pixels count as dry in it.
    """
    from pysteps.extrapolation.semilagrangian import extrapolate

    missing = np.isnan(last)
    if not missing.any():
        return forecast
    carried = extrapolate(missing.astype(np.float64), velocity, forecast.shape[-3], outval=1.0)
    return np.where(carried > 1.0 - 1e-6, np.nan, forecast)


class PystepsNowcaster:
    """What the nowcasts of pysteps share: the card, the checks, no rain from no rain, motion, what stays missing.

    min_frames: frames of history. needs_memory: see `check_frames`. stage: the word that the progress shows.
    """

    min_frames = 3
    needs_memory = True
    stage = ""

    def __init__(self, card: ModelCard, device: object = "cpu") -> None:
        require_pysteps(card.name)
        self.card = card  # the device does not matter: pysteps runs on the CPU

    def run(
        self,
        past: np.ndarray,
        shape: tuple[int, ...],
        progress: Progress,
        compute: Callable[[np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """Rain in mm/h, float32, of ``shape`` (..., L, H, W) from ``past`` (T, H, W); NaN = no data in both.

        ``compute`` calls pysteps with the motion (2, H, W) of the last frames and gives rain of that shape.

        Raises:
            DataError: a history or a field that pysteps cannot work with.
        """
        check_frames(self.card.name, past, needs_memory=self.needs_memory)
        if is_dry(past[-1]):
            return dry_forecast(shape, past[-1])

        def work() -> np.ndarray:
            velocity = motion_of(rain_to_db(past[-MOTION_FRAMES:]))
            return carry_missing(compute(velocity), past[-1], velocity)

        return run(self.card.name, self.stage, shape[-3], progress, work).astype(np.float32)
