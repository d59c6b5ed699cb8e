"""Time and memory of cuboid, full, window and axial attention, beside the model of cost (FLOP and bytes moved).

    python benchmarks/scaling.py [--repeats 5] [--json FILE] [--write]

Over pixels, frames, cuboid volume and batch. First each kind is shown equal to the reference; then it runs on one
thread, by itself in a process in which freed memory goes back to the system at once. Time is the median CPU time of the
process, memory the most held beyond the inputs. The model's time is FLOP over the rate of a matrix product plus bytes
over the rate of a copy, both taken in the same run. What would take more than the limits below is not tried. --write
puts the picture into docs/scaling.svg and the table into docs/scaling.md.
"""

import argparse
import datetime
import json
import math
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from geoscope.inference.peak_memory import peak_memory
from geoscope.models.costs.ghosts import Ghosts
from geoscope.models.costs.meter import Meter, Reading
from geoscope.ops.cuboid_attention import Cuboids, cuboid_attention
from geoscope.viz.line_svg import line_chart_svg

HEADS, WIDTH = 4, 16
MOST_GFLOP, MOST_GB = 18.0, 1.5
KINDS = ("cuboid", "full", "window", "axial")
COLOURS = {"cuboid": "#0b6e99", "full": "#b3261e", "window": "#6a8d1a", "axial": "#7b4fa3"}
DOCS = Path(__file__).resolve().parents[1] / "docs"
BLOCK = re.compile(r"(<!-- begin table: written by [^>]*-->\n).*?(<!-- end table -->)", re.DOTALL)
ALLOCATOR = ("MALLOC_MMAP_THRESHOLD_", "131072")
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Point:
    """One run: what is varied, which kind of attention, over which volume."""

    over: str
    kind: str
    shape: Shape
    batch: int = 1
    size: Shape = (4, 4, 4)

    @property
    def x(self) -> int:
        """Where the point stands on its axis."""
        steps, rows, columns = self.shape
        places = {"pixels": rows * columns, "frames": steps, "batch": self.batch}
        return places.get(self.over, math.prod(self.size))

    def cuboids(self) -> list[Cuboids]:
        """The attentions that one block of this kind is made of."""
        t, h, w = self.shape
        return {
            "cuboid": [Cuboids(size=self.size)],
            "full": [Cuboids(size=self.shape)],
            "window": [Cuboids(size=(1, 8, 8))],
            "axial": [Cuboids(size=(t, 1, 1)), Cuboids(size=(1, h, 1)), Cuboids(size=(1, 1, w))],
        }[self.kind]

    def run(self, x: Tensor, impl: str = "auto") -> Tensor:
        """The block on ``x`` (B, T, H, W, heads, width), as queries, keys and values."""
        for cuboids in self.cuboids():
            x = cuboid_attention(x, x, x, cuboids, impl=impl)  # type: ignore[arg-type]
        return x


@dataclass(frozen=True)
class Row:
    """What the model says of a point and what was measured; NaN where it was not tried."""

    point: Point
    flop: int
    moved: int
    model_bytes: int
    model_ms: float
    ms: float
    spread_ms: float
    bytes: float


def points() -> Iterator[Point]:
    for kind in KINDS:
        yield from (Point("pixels", kind, (8, side, side)) for side in (16, 32, 64, 96))
        yield from (Point("frames", kind, (steps, 32, 32)) for steps in (4, 8, 16, 32))
        yield from (Point("batch", kind, (8, 32, 32), batch) for batch in (1, 2, 4))
    sizes: tuple[Shape, ...] = ((1, 2, 2), (2, 4, 4), (4, 4, 4), (4, 8, 8), (8, 16, 16))
    yield from (Point("cuboid volume", "cuboid", (8, 32, 32), size=size) for size in sizes)


def count(point: Point) -> Reading:
    ghost, meter = Ghosts().field((point.batch, *point.shape, HEADS, WIDTH)), Meter()
    with torch.no_grad(), meter:
        point.run(ghost)
    return meter.reading


def check_equal() -> None:
    """Every kind gives what the reference gives, or nothing is measured."""
    x = torch.randn(1, 4, 8, 8, HEADS, WIDTH, generator=torch.Generator().manual_seed(0))
    for kind in KINDS:
        point = Point("pixels", kind, (4, 8, 8))
        off = (point.run(x) - point.run(x, "reference")).abs().max().item()
        if off > 1e-5:
            raise SystemExit(f"{kind} attention is {off:.1e} from its reference: nothing is measured")


def cpu_ms(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median and interquartile range of the CPU time of ``run``, after one run that is not counted."""
    run()
    took = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        took.append(1000 * (time.process_time() - start))
    took.sort()
    return statistics.median(took), took[(3 * repeats) // 4] - took[repeats // 4]


def limits(repeats: int) -> tuple[float, float]:
    """FLOP a millisecond of a matrix product, bytes a millisecond of a copy (read and written)."""
    a, big = torch.randn(768, 768), torch.randn(8_000_000)
    there = torch.empty_like(big)
    product, _ = cpu_ms(lambda: a @ a, repeats)
    copy, _ = cpu_ms(lambda: there.copy_(big), repeats)
    return 2 * 768**3 / product, 2 * big.nbytes / copy


def held_by(run: Callable[[], object]) -> float:
    """The most that ``run`` held, in bytes."""

    def resident() -> int:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))

    before = resident()
    with peak_memory() as peak:
        run()
    return peak.megabytes * 1024 * 1024 - before


def measure(point: Point, rates: tuple[float, float], repeats: int) -> Row:
    reading = count(point)
    model_ms = reading.flop / rates[0] + reading.moved / rates[1]
    fixed = (point, reading.flop, reading.moved, reading.peak, model_ms)
    if reading.flop > MOST_GFLOP * 1e9 or reading.peak > MOST_GB * 1e9:
        return Row(*fixed, math.nan, math.nan, math.nan)
    x = torch.randn(point.batch, *point.shape, HEADS, WIDTH)
    with torch.no_grad():
        ms, spread = cpu_ms(lambda: point.run(x), repeats)
        held = held_by(lambda: point.run(x))
    return Row(*fixed, ms, spread, held)


HEADINGS = ("over", "kind", "volume", "batch", "cuboid", "GFLOP", "moved MB", "model ms", "CPU ms", "IQR ms")
HEADINGS += ("model MB", "held MB")


def cells(row: Row) -> list[str]:
    point = row.point
    if math.isnan(row.ms):
        measured = ["not tried", "", f"{row.model_bytes / 1e6:.1f}", "not tried"]
    else:
        measured = [f"{row.ms:.1f}", f"{row.spread_ms:.1f}", f"{row.model_bytes / 1e6:.1f}"]
        measured.append(f"{row.bytes / 1e6:.1f}")
    volume, size = ("x".join(map(str, shape)) for shape in (point.shape, point.size))
    named = [point.over, point.kind, volume, str(point.batch), size if point.kind == "cuboid" else ""]
    return [*named, f"{row.flop / 1e9:.3f}", f"{row.moved / 1e6:.1f}", f"{row.model_ms:.1f}", *measured]


def picture(rows: Sequence[Row], caption: str) -> str:
    """Four charts: time over pixels, frames and cuboid volume, memory over pixels; the model is dashed."""
    charts = []
    wanted = (("pixels", "ms"), ("frames", "ms"), ("cuboid volume", "ms"), ("pixels", "MB"))
    for place, (over, unit) in enumerate(wanted):
        lines = []
        for kind in KINDS:
            own = [row for row in rows if row.point.over == over and row.point.kind == kind]
            xs = [row.point.x for row in own]
            seen = [row.ms if unit == "ms" else row.bytes / 1e6 for row in own]
            said = [row.model_ms if unit == "ms" else row.model_bytes / 1e6 for row in own]
            look = {"colour": COLOURS[kind], "x": xs}
            if own:
                lines.append({**look, "name": f"{kind}, measured", "y": seen, "dash": "solid"})
                lines.append({**look, "name": f"{kind}, model", "y": said, "dash": "dashed"})
        label = f"{'CPU time' if unit == 'ms' else 'memory'}, {unit}"
        chart = line_chart_svg(lines, x_label=over, y_label=label, is_log_x=True, is_log_y=True)
        where = f'<svg x="{place % 2 * 370}" y="{place // 2 * 240 + 30}" width="360" height="230" '
        charts.append(chart.replace("<svg ", where, 1))
    legend = "".join(
        f'<text x="{60 + 90 * i}" y="18" fill="{COLOURS[kind]}">{kind}</text>' for i, kind in enumerate(KINDS)
    )
    legend += '<text x="430" y="18" fill="#3a444e">solid: measured, dashed: model of cost</text>'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 740 535" font-family="sans-serif" font-size="12">'
        f'<rect width="740" height="535" fill="#ffffff"/>{legend}{"".join(charts)}'
        f'<text x="56" y="526" font-size="10" fill="#3a444e">{caption}</text></svg>\n'
    )


def write_docs(rows: Sequence[Row], caption: str) -> None:
    (DOCS / "scaling.svg").write_text(picture(rows, caption), encoding="utf-8")
    table = [f"| {' | '.join(HEADINGS)} |", f"|{' --- |' * 5}{' ---: |' * (len(HEADINGS) - 5)}"]
    table += [f"| {' | '.join(cells(row))} |" for row in rows]
    page = DOCS / "scaling.md"
    text = page.read_text(encoding="utf-8")
    block = "\n".join(["", *table, "", caption, ""])
    page.write_text(BLOCK.sub(lambda match: f"{match[1]}{block}\n{match[2]}", text), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write every row here too")
    parser.add_argument("--write", action="store_true", help="rewrite the picture and the table of the docs")
    options = parser.parse_args()
    if options.repeats < 1:
        raise SystemExit(f"--repeats {options.repeats}: give at least 1")
    if ALLOCATOR[0] not in os.environ:  # the C library reads it when the process starts
        alone = {**os.environ, ALLOCATOR[0]: ALLOCATOR[1], "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        os.execve(sys.executable, [sys.executable, *sys.argv], alone)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    check_equal()
    rates = limits(options.repeats)
    print("  ".join(HEADINGS))
    rows = []
    for point in points():
        rows.append(measure(point, rates, options.repeats))
        print("  ".join(cells(rows[-1])), flush=True)
    caption = (
        f"{platform.machine()}, {os.cpu_count()} shared cores, one thread, torch {torch.__version__}, float32, "
        f"{HEADS} heads of {WIDTH}, {options.repeats} repeats; product {rates[0] / 1e6:.0f} GFLOP/s, "
        f"copy {rates[1] / 1e6:.1f} GB/s; {datetime.date.today()}"
    )
    print(caption)
    if options.json:
        plain = [{**asdict(row), "bytes": None if math.isnan(row.bytes) else row.bytes} for row in rows]
        for one in plain:
            one |= {name: None for name in ("ms", "spread_ms") if math.isnan(one[name])}
        options.json.write_text(json.dumps({"caption": caption, "rows": plain}, indent=1) + "\n")
    if options.write:
        write_docs(rows, caption)
    return 0


if __name__ == "__main__":
    sys.exit(main())
