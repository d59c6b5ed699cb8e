"""`geoscope estimate`: the tables, the file, the refusals."""

import json

import pytest

SMALL = ("estimate", "--preset", "earthformer_enso", "--frames", "4", "--size", "8")


def test_the_table_shows_inference_and_training(run):
    result = run(*SMALL, "--training", "--quick", "--json", "cost.json")
    assert result.exit_code == 0, result.output
    for word in ("parameters", "GFLOP", "weights", "gradients", "moments of AdamW", "kept, GB", "head"):
        assert word in result.stdout
    assert "earthformer_enso: 4 frames of 8 x 8 in, 14 out, batch 1, float32" in result.stdout
    with open("cost.json", encoding="utf-8") as stream:
        plain = json.load(stream)
    training = plain["costs"]["training"]
    memory = ("weights", "inputs", "gradients", "moments", "activations")
    assert training["peak"] == sum(training[name] for name in memory)
    assert training["flop"] > 2.5 * plain["costs"]["inference"]["flop"]
    assert plain["input_shape"] == [4, 8, 8, 1]
    assert plain["largest_side_by_gb"] == {}


def test_recomputing_in_some_parts_is_counted(run):
    kept = []
    for words in ((), ("--recompute-in", "stem, head")):
        name = f"cost{len(kept)}.json"
        result = run(*SMALL, "--training", "--quick", "--json", name, *words)
        assert result.exit_code == 0, result.output
        with open(name, encoding="utf-8") as stream:
            plain = json.load(stream)
        kept.append(plain["costs"]["training"]["kept"])
    assert kept[0] > kept[1]
    assert plain["recompute"] == ["stem", "head"]


def test_the_largest_fields_grow_with_the_memory(run, monkeypatch):
    from geoscope.cli import estimate

    monkeypatch.setattr(estimate, "GB", 10**7)
    monkeypatch.setattr(estimate, "MEMORIES_GB", (2, 6))
    result = run(*SMALL, "--recompute", "--training", "--json", "cost.json", "--size", "16")
    assert result.exit_code == 0, result.output
    with open("cost.json", encoding="utf-8") as stream:
        fits = json.load(stream)["largest_side_by_gb"]
    assert set(fits) == {"inference", "training"}
    for mode, sides in fits.items():
        sizes = list(sides.values())
        assert sizes == sorted(sizes), mode
        assert f"{sizes[-1]} x {sizes[-1]}" in result.stdout


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
        (("--preset", "earthformer_sevir", "--recompute-in", "head"), "--recompute-in is for training only"),
        (
            ("--preset", "earthformer_sevir", "--training", "--recompute-in", "head", "--recompute"),
            "give one of them",
        ),
        (
            ("--preset", "earthformer_sevir", "--training", "--recompute-in", "tail"),
            "recompute='tail' is no part of this network: give stem, level1, level2, head",
        ),
        (("--preset", "earthformer_sevir", "--json", "cost.txt"), "--json 'cost.txt' ends in '.txt'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(refused, words, said):
    assert said in refused("estimate", *words)
