"""Draw the pictures of the cuboid attention README, from the operation itself.

    python docs/figures/cuboids.py

writes cuboids_*.svg beside this file. Which token belongs to which cuboid, and who sees whom, is asked of the
library, so the pictures cannot say anything else than the code does.
"""

from collections.abc import Callable
from pathlib import Path

import torch

from geoscope.nn.cuboid_patterns import self_cuboids
from geoscope.ops.cuboid_attention import Cuboids
from geoscope.ops.cuboid_attention.cuboids import DILATED, Axes, cut
from geoscope.ops.cuboid_attention.masks import attention_mask
from geoscope.ops.cuboid_attention.positions import relative_position_index

FOLDER = Path(__file__).parent
INK, PALE, QUERY, SEEN = "#1f2933", "#e6eaee", "#d1495b", "#2e86ab"
# Okabe and Ito's colours, told apart by all eyes; each also has its number in the picture.
COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#0072b2", "#d55e00", "#bbbbbb", "#8d6e63")
CELL, GAP = 22, 26


class Drawing:
    """A picture under way: squares and words, in pixels from the upper left."""

    def __init__(self) -> None:
        self.squares: dict[str, list[str]] = {}  # one path for each colour
        self.words: list[str] = []
        self.width = self.height = 0.0

    def square(self, x: float, y: float, colour: str, text: str = "", size: float = CELL) -> None:
        """A filled square with a word in it."""
        self.squares.setdefault(colour, []).append(f"M{x:g} {y:g}h{size:g}v{size:g}h-{size:g}z")
        if text:
            self.word(x + size / 2, y + size / 2 + 4, text, size=11, anchor="middle")
        self._reach(x + size, y + size)

    def word(self, x: float, y: float, text: str, *, size: int = 13, anchor: str = "start") -> None:
        """A word whose baseline starts, or whose middle lies, at (x, y)."""
        self.words.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" fill="{INK}">{text}</text>'
        )
        self._reach(x + (7 * len(text) if anchor == "start" else 0), y + 4)

    def _reach(self, x: float, y: float) -> None:
        self.width, self.height = max(self.width, x), max(self.height, y)

    def svg(self) -> str:
        """The picture as SVG on white paper."""
        w, h = self.width + 14, self.height + 14
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:g} {h:g}" width="{w:g}" height="{h:g}"'
        )
        paper = f'<rect width="{w:g}" height="{h:g}" fill="#ffffff"/>'
        paths = [
            f'<path d="{"".join(places)}" fill="{colour}" stroke="#ffffff" stroke-width="1"/>'
            for colour, places in self.squares.items()
        ]
        return "\n".join([f'{head} font-family="sans-serif">', paper, *paths, *self.words, "</svg>", ""])


def cuboid_of_each_token(shape: Axes, cuboids: Cuboids) -> torch.Tensor:
    """The number of the cuboid that each token of the volume belongs to, (T, H, W)."""
    place = torch.arange(1, 1 + shape[0] * shape[1] * shape[2], dtype=torch.float64).view(1, *shape)
    rows = cut(place, cuboids)[0].long()  # (N, L), 0 where there is padding
    number = torch.zeros(place.numel() + 1, dtype=torch.int64)
    number[rows.flatten()] = torch.arange(len(rows)).repeat_interleave(rows.shape[1])
    return number[1:].view(shape)


def seen_by(shape: Axes, cuboids: Cuboids, query: Axes) -> torch.Tensor:
    """Which tokens the token at ``query`` attends to, (T, H, W) bool."""
    cuboids = cuboids.fit(shape)
    place = torch.arange(1, 1 + shape[0] * shape[1] * shape[2], dtype=torch.float64).view(1, *shape)
    rows = cut(place, cuboids)[0].long()
    n, i = (rows == place[0][query].long()).nonzero()[0].tolist()
    mask = attention_mask(shape, cuboids, shape, cuboids, torch.device("cpu"))
    keys = rows[n] if mask is None else rows[n][mask.pairs[n, i]]
    seen = torch.zeros(place.numel() + 1, dtype=torch.bool)
    seen[keys] = True
    return seen[1:].view(shape)


def draw_strategies() -> Drawing:
    """One frame of 6x6 tokens in cuboids of 3x3: local, dilated, and local shifted by one."""
    drawing, shape = Drawing(), (1, 6, 6)
    kinds = (
        ("local", Cuboids(size=(1, 3, 3))),
        ("dilated", Cuboids(size=(1, 3, 3), strategy=DILATED)),
        ("local, shifted by (0, 1, 1)", Cuboids(size=(1, 3, 3), shift=(0, 1, 1))),
    )
    for panel, (title, cuboids) in enumerate(kinds):
        left = 14 + panel * (6 * CELL + 3 * GAP)
        drawing.word(left, 20, title)
        for i, row in enumerate(cuboid_of_each_token(shape, cuboids)[0].tolist()):
            for j, number in enumerate(row):
                drawing.square(left + j * CELL, 32 + i * CELL, COLOURS[number], str(number))
    return drawing


def draw_reach() -> Drawing:
    """Who one token (red) sees in a volume of 4 frames of 8x8 tokens, attention by attention of four patterns."""
    drawing, shape, query, cell = Drawing(), (4, 8, 8), (1, 3, 4), 11
    for step in range(shape[0]):
        drawing.word(246 + step * (8 * cell + GAP), 18, f"t = {step}")
    top = 28.0
    for name in ("full", "axial", "divided_st", "video_swin_2x4", "spatial_lg_4"):
        for number, cuboids in enumerate(self_cuboids(name, shape)):
            seen = seen_by(shape, cuboids, query)
            if number == 0:
                drawing.word(14, top + 20, name)
            far = " dilated" if "dilated" in cuboids.strategy else ""
            moved = f" shift {cuboids.shift}" if any(cuboids.shift) else ""
            drawing.word(14, top + 40, f"{number + 1}. {cuboids.size}{far}{moved}", size=11)
            drawing.word(14, top + 56, f"sees {int(seen.sum())} of {seen.numel()}", size=11)
            for t in range(shape[0]):
                left = 246 + t * (8 * cell + GAP)
                for i in range(shape[1]):
                    for j in range(shape[2]):
                        colour = QUERY if (t, i, j) == query else SEEN if seen[t, i, j] else PALE
                        drawing.square(left + j * cell, top + i * cell, colour, size=cell)
            top += 8 * cell + 14
    return drawing


def draw_seam() -> Drawing:
    """A row of 7 tokens in cuboids of 4, shifted by 2: the roll, the padding, and the pairs that are open."""
    drawing, shape = Drawing(), (1, 1, 7)
    cuboids = Cuboids(size=(1, 1, 4), shift=(0, 0, 2), padding="ignore")
    rows = cut(torch.arange(1.0, 8.0).view(1, *shape), cuboids)[0].long()
    drawing.word(14, 20, "padded, rolled back by 2 and cut; p is padding")
    for n, tokens in enumerate(rows.tolist()):
        for j, token in enumerate(tokens):
            x = 14 + (n * 4 + j) * CELL + n * GAP
            drawing.square(x, 32, COLOURS[n] if token else PALE, str(token - 1) if token else "p")
    mask = attention_mask(shape, cuboids, shape, cuboids, torch.device("cpu"))
    drawing.word(14, 90, "query (down) sees key (across)")
    for n, tokens in enumerate(rows.tolist()):
        left = 36 + n * (5 * CELL + GAP)
        for j, token in enumerate(tokens):
            name = str(token - 1) if token else "p"
            drawing.word(left + j * CELL + CELL / 2, 112, name, size=11, anchor="middle")
            drawing.word(left - 12, 120 + j * CELL + CELL / 2 + 4, name, size=11, anchor="middle")
        for i in range(4):
            for j in range(4):
                is_open = mask is None or bool(mask.pairs[n, i, j])
                drawing.square(left + j * CELL, 120 + i * CELL, SEEN if is_open else PALE)
    return drawing


def draw_positions() -> Drawing:
    """The row of the bias table for each pair of tokens of a (1, 3, 3) cuboid."""
    drawing, cell = Drawing(), 26
    index = relative_position_index((1, 3, 3))
    drawing.word(14, 20, "row of the bias table for query (down) and key (across), cuboid (1, 3, 3): 25 rows")
    for i in range(9):
        drawing.word(30, 54 + i * cell + cell / 2 + 4, f"{i // 3},{i % 3}", size=11, anchor="middle")
        drawing.word(48 + i * cell + cell / 2, 46, f"{i // 3},{i % 3}", size=11, anchor="middle")
        for j in range(9):
            row = int(index[i, j])
            shade = 255 - int(130 * abs(row - 12) / 12)
            colour = f"#{shade:02x}{shade:02x}ff" if row <= 12 else f"#ff{shade:02x}{shade:02x}"
            drawing.square(48 + j * cell, 54 + i * cell, colour, str(row), size=cell)
    return drawing


PICTURES: dict[str, Callable[[], Drawing]] = {
    "cuboids_strategies.svg": draw_strategies,
    "cuboids_reach.svg": draw_reach,
    "cuboids_seam.svg": draw_seam,
    "cuboids_positions.svg": draw_positions,
}


def main() -> None:
    """Write every picture beside this file."""
    for name, draw in PICTURES.items():
        (FOLDER / name).write_text(draw().svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
