"""The largest field that fits into a given memory, found with few evaluations of a cost."""

import math
from collections.abc import Callable, Sequence

CLOSE = 0.97  # a field that fills this share of the memory is as good as the largest
TRIES = 16


def largest_sides(
    peak_of: Callable[[int], int], budgets: Sequence[int], step: int, *, longest: int, first: int
) -> list[int]:
    """For each of ``budgets`` (bytes) the side of the largest square field whose ``peak_of(side)`` fits; 0 for none.

    Sides are multiples of ``step`` up to ``longest``; ``first`` is the side to begin with. A side whose peak fills at
    least `CLOSE` of the budget is taken without looking for the very last step.
    """
    longest = longest // step * step
    known: dict[int, int] = {}

    def look(side: int) -> None:
        known[side] = peak_of(side)

    look(min(max(first // step * step, step), longest))
    found = []
    for budget in budgets:
        for _ in range(TRIES):
            fits = max((side for side, peak in known.items() if peak <= budget), default=0)
            over = min((side for side, peak in known.items() if peak > budget), default=longest + step)
            if over - fits <= step or known.get(fits, 0) >= CLOSE * budget:
                break
            look(_guess(known, budget, fits, over, step))
        found.append(max((side for side, peak in known.items() if peak <= budget), default=0))
    return found


def _guess(known: dict[int, int], budget: int, fits: int, over: int, step: int) -> int:
    """A side between ``fits`` and ``over`` at which the budget is about filled."""
    near = sorted(known, key=lambda side: abs(math.log(known[side] / budget)))[:2]
    power = 2.0  # memory grows with the area, and a little faster
    if len(near) == 2 and known[near[0]] != known[near[1]]:
        power = math.log(known[near[0]] / known[near[1]]) / math.log(near[0] / near[1])
    side = near[0] * (0.99 * budget / known[near[0]]) ** (1.0 / min(max(power, 1.0), 4.0))
    return min(max(int(side) // step * step, fits + step), over - step)
