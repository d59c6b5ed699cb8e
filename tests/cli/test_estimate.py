"""`geoscope estimate`: the refusals."""

import pytest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--preset", "earthformer_sevr"), "the nearest is 'earthformer_sevir'"),
        (("--preset", "earthformer_sevir", "--size", "0"), "size=0 rows: give from 1"),
        (("--preset", "earthformer_sevir", "--size", "-24"), "size=-24 rows: give from 1"),
        (
            ("--preset", "earthformer_sevir", "--size", "400"),
            "not a multiple of 24, which the network merges: 384 or 408",
        ),
        (("--preset", "earthformer_sevir", "--size", "big"), "--size 'big': give pixels a side, as in 768"),
        (("--preset", "earthformer_sevir", "--frames", "0"), "frames=0: give at least 1"),
        (("--preset", "earthformer_sevir", "--dtype", "int8"), "dtype 'int8' is not known"),
        (("--preset", "earthformer_sevir", "--batch", "0"), "batch=0: give at least 1"),
        (("--preset", "earthformer_sevir", "--recompute"), "--recompute is for training only"),
        (("--preset", "earthformer_sevir", "--json", "cost.txt"), "--json 'cost.txt' ends in '.txt'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(refused, words, said):
    assert said in refused("estimate", *words)
