"""Sequences as PNG, GIF and MP4, each with title, times, colour bar, credit and, inside the file, the run
card."""

import contextlib
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path

import numpy as np
import xarray as xr
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from geoscope.data.whole_files import whole_file
from geoscope.errors import ConfigError, DataError, MissingExtraError
from geoscope.viz.colours import Kind, Theme, scale_for
from geoscope.viz.figure import Figure, check_drawable, contact_sheet, draw_frame, draw_into

Progress = Callable[[str, float], None]

_LAST_FRAME_SECONDS = 1.5  # an animation rests before it begins again


def write_png(
    field: xr.DataArray,
    path: str | PathLike[str],
    *,
    frame: int | None = None,
    kind: Kind = "stepped",
    theme: Theme = "light",
    width: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write one frame of a field (time, y, x), or, for `frame` None, a sheet of up to six of them.

    Raises:
        ConfigError: no such frame, a width or theme that is not carried, an existing file without
        `overwrite`. DataError: the field is no sequence of maps.
    """
    report = progress or _silent
    report("drawing", 0.0)
    if frame is None:
        image = contact_sheet(field, kind=kind, theme=theme, width=width or 1500)
    else:
        image = draw_frame(field, frame, kind=kind, theme=theme, width=width or 960)
    info = PngInfo()
    for key, value in _about(field).items():
        info.add_itxt(key, value)
    report("writing", 0.9)
    return write_image(image, path, overwrite=overwrite, info=info)


def write_image(
    image: Image.Image, path: str | PathLike[str], *, overwrite: bool = False, info: PngInfo | None = None
) -> Path:
    """Write a finished picture as PNG, whole or not at all."""
    target = Path(path)
    with whole_file(target, overwrite) as part, part.open("wb") as file:
        image.save(file, format="PNG", optimize=True, pnginfo=info)
    return target


def write_gif(
    field: xr.DataArray,
    path: str | PathLike[str],
    *,
    frames_per_second: float = 3.0,
    kind: Kind = "stepped",
    theme: Theme = "light",
    width: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a field (time, y, x) as a GIF that loops for ever and rests on its last frame.

    Raises:
        ConfigError: a speed, width or theme that is not carried, an existing file without `overwrite`.
        DataError: the field is no sequence of maps.
    """
    step = 1000 / _checked_speed(frames_per_second)
    figure = _figure(field, kind, theme, width or 800)
    target = Path(path)
    count = field.sizes["time"]
    palette = _common_palette([draw_into(figure, field, i) for i in sorted({0, count // 2, count - 1})])
    pictures = (_in_palette(image, palette) for image in _pictures(field, figure, progress or _silent))
    with whole_file(target, overwrite) as part, part.open("wb") as file:
        next(pictures).save(
            file,
            format="GIF",
            save_all=True,
            append_images=pictures,
            duration=[step] * (count - 1) + [max(step, 1000 * _LAST_FRAME_SECONDS)],
            loop=0,
            comment=_about(field).get("run_card", "").encode(),
        )
    return target


def write_mp4(
    field: xr.DataArray,
    path: str | PathLike[str],
    *,
    frames_per_second: float = 3.0,
    kind: Kind = "stepped",
    theme: Theme = "light",
    width: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a field (time, y, x) as H.264 video that every browser plays.

    Raises:
        ConfigError: a speed, width or theme that is not carried, an existing file without `overwrite`.
        DataError: the field is no sequence of maps, or the encoder failed.
        MissingExtraError: the package imageio-ffmpeg, which carries the encoder, is not installed.
    """
    speed = _checked_speed(frames_per_second)
    target = Path(path)
    encoder = _encoder(target)
    figure = _figure(field, kind, theme, width or 960)
    about = _about(field)
    with whole_file(target, overwrite) as part, tempfile.TemporaryFile() as messages:
        command = [
            *(encoder, "-hide_banner", "-loglevel", "error", "-y"),
            *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{figure.size[0]}x{figure.size[1]}"),
            *("-r", f"{speed:g}", "-i", "-", "-an", "-c:v", "libx264", "-crf", "18", "-preset", "veryfast"),
            *("-pix_fmt", "yuv420p", "-r", str(max(10, round(speed))), "-movflags", "+faststart"),
            *(
                "-metadata",
                f"title={about.get('title', '')}",
                "-metadata",
                f"comment={about.get('run_card', '')}",
            ),
            str(part),
        ]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=messages, stderr=messages)
        assert process.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # the encoder stopped: its own words follow
                for image in _pictures(field, figure, progress or _silent):
                    process.stdin.write(image.tobytes())
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            status = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            raise
        if status or not part.exists():
            messages.seek(0)
            said = messages.read(2000).decode("utf-8", "replace").strip().splitlines()
            raise DataError(
                f"{target}: the video encoder stopped with {said[-1:] or status}; try .gif instead"
            )
    return target


def _packed(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)


def _common_palette(probes: list[Image.Image]) -> np.ndarray:
    """The 256 colours most used in some frames, rising, as 0xrrggbb: one palette, or areas would flicker.

    The colour bar brings every class into it.
    """
    colours, counts = np.unique(np.concatenate([_packed(probe) for probe in probes]), return_counts=True)
    return np.sort(colours[np.argsort(-counts, kind="stable")[:256]])


def _in_palette(image: Image.Image, palette: np.ndarray) -> Image.Image:
    """The image in a palette: its colours exactly where the palette has them, near ones elsewhere.

    Pillow's own search rounds colours to six bits, which would tint whole areas.
    """
    triples = np.stack([palette >> 16, palette >> 8 & 255, palette & 255], axis=-1).astype(np.uint8).tobytes()
    holder = Image.new("P", (1, 1))
    holder.putpalette(triples)
    near = np.asarray(image.quantize(palette=holder, dither=Image.Dither.NONE))
    pixels = _packed(image)
    at = np.minimum(np.searchsorted(palette, pixels), len(palette) - 1)
    result = Image.fromarray(np.where(palette[at] == pixels, at, near).astype(np.uint8))
    result.putpalette(triples)
    return result


def _encoder(path: Path) -> str:
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise MissingExtraError(
            f"{path}: writing MP4 needs the package imageio-ffmpeg; install it with pip install 'geoscope[apps]', "
            "or write .gif"
        ) from error


def _figure(field: xr.DataArray, kind: Kind, theme: Theme, width: int) -> Figure:
    check_drawable(field)
    return Figure(field, scale_for(field, kind), width=width, theme=theme)


def _pictures(field: xr.DataArray, figure: Figure, report: Progress) -> Iterator[Image.Image]:
    count = field.sizes["time"]
    for index in range(count):
        report(f"drawing frame {index + 1} of {count}", index / count)
        yield draw_into(figure, field, index)


def _checked_speed(frames_per_second: float) -> float:
    if not 0.1 <= frames_per_second <= 30:
        raise ConfigError(f"frames_per_second={frames_per_second} must lie between 0.1 and 30")
    return float(frames_per_second)


def _about(field: xr.DataArray) -> dict[str, str]:
    """What a picture file says of itself beside the picture."""
    about = {
        key: str(field.attrs[key]) for key in ("credit", "model", "run_card", "units") if key in field.attrs
    }
    times = field["time"].values.astype("datetime64[s]")
    about["valid_time"] = " ".join(f"{time}Z" for time in np.unique(times)[[0, -1]])
    about["title"] = str(field.attrs.get("long_name") or field.name or "field")
    return about


def _silent(stage: str, share: float) -> None:
    """Nobody wants to know."""
