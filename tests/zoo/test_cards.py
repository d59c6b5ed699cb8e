"""Cards say what is true, and a card that is not right is refused by name."""

import json
import tomllib

import pytest

import geoscope as gs
from geoscope.errors import ConfigError
from geoscope.zoo import cards
from geoscope.zoo.cards import CARDS, KINDS, WEIGHTS, ModelCard, card, list_models, read_card

GOOD = """
name = "one"
title = "One"
task = "nowcast"
kind = "learned"
summary = "A model."
[weights]
file = "one.safetensors"
sha256 = "{sha}"
""".format(sha="a" * 64)


def write(folder, text, name="one.toml"):
    path = folder / name
    path.write_text(text)
    return path


def test_the_face_lists_the_models():
    names = [one.name for one in gs.list_models()]
    assert {"persistence", "extrapolation", "earthformer-sevir", "earthformer-icar-enso"} <= set(names)
    kinds = [KINDS.index(one.kind) for one in gs.list_models()]
    assert kinds == sorted(kinds)


def test_models_are_listed_by_task():
    nowcasters = list_models("nowcast")
    assert {"persistence", "extrapolation"} <= {one.name for one in nowcasters}
    assert {one.task for one in nowcasters} == {"nowcast"}
    with pytest.raises(ConfigError, match=r"no model is for the task 'cooking'; there are .*nowcast"):
        list_models("cooking")


def test_an_unknown_model_is_refused_with_the_names():
    with pytest.raises(
        ConfigError, match=r"no model is called 'oracle'; there are .*extrapolation, persistence"
    ):
        card("oracle")


@pytest.mark.parametrize("name", ["../cards/persistence", "", "persistence.toml"])
def test_a_name_is_not_a_path(name):
    with pytest.raises(ConfigError, match="no model is called"):
        card(name)


@pytest.mark.parametrize("path", sorted(CARDS.glob("*.toml")), ids=lambda path: path.stem)
def test_a_shipped_card_is_complete(path):
    one = card(path.stem)
    assert one.limits, "every model has limits"
    assert one.licence
    assert one.architecture
    assert one.summary.endswith(".")
    if one.kind == "learned":
        assert one.parameters
        assert one.scores
        assert one.training
        assert one.training.command
        assert one.training.data
        assert one.self_check
        assert (WEIGHTS / one.self_check.file).is_file()
        assert one.weights_path() is not None
    if one.weights and one.weights.kwargs:
        kwargs = json.loads((CARDS / one.weights.kwargs).read_text())
        assert (
            set(kwargs) == {part.name for part in one.weights.parts}
            if one.weights.parts
            else kwargs["input_shape"]
        )
        assert one.parameters == sum(part.parameters for part in one.weights.parts) or not one.weights.parts
    page = one.to_markdown()
    assert page.startswith(f"# {one.title}\n")
    assert all(limit in page for limit in one.limits)
    assert hash(one) == hash(card(path.stem))


@pytest.mark.parametrize(
    ("name", "model_size", "weights_size"),
    [
        ("earthformer-sevir", "15.1 million", "8.66 million"),
        ("earthformer-icar-enso", "7.6 million", "1.39 million"),
    ],
)
def test_published_scores_say_which_model_they_belong_to(name, model_size, weights_size):
    one = card(name)
    assert model_size in one.scores_note
    assert weights_size in one.scores_note
    assert f"{one.parameters / 1e6:.2f} million" == weights_size


@pytest.mark.parametrize(
    ("name", "facts"), [("earthformer-sevir", "sevir"), ("earthformer-icar-enso", "enso")]
)
def test_the_published_arguments_are_those_of_the_facts(shared, name, facts):
    stored = json.loads((CARDS / card(name).weights.kwargs).read_text())
    assert stored == json.loads((shared / "facts" / f"earthformer_{facts}_kwargs.json").read_text())


def test_the_weights_that_ship_stay_small():
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) < 40e6


def test_a_full_card_is_read(tmp_path):
    text = (
        GOOD
        + """
[input]
quantity = "rain rate"
interval_minutes = [2, 60]
grid = [64, 1024]
[training]
data = ["a", "b"]
seed = 0
date = 2026-11-21
[[scores]]
table = "CSI"
event = "florence-2018"
one = 0.5
persistence = 0.41234
[[scores]]
table = "MAE, mm/h"
event = "florence-2018"
one = 1
"""
    )
    one = read_card(write(tmp_path, text))
    assert one.input.interval_minutes == (2.0, 60.0)
    assert one.input.grid == (64, 1024)
    assert one.input.pixel_km is None
    assert one.training.data == ("a", "b")
    page = one.to_markdown()
    assert "| event | one | persistence |\n| --- | --- | --- |\n| florence-2018 | 0.5 | 0.4123 |" in page
    assert "MAE, mm/h\n\n| event | one |\n| --- | --- |\n| florence-2018 | 1 |" in page
    assert "| minutes between frames | 2 to 60 |" in page
    assert "| date | 2026-11-21 |" in page
    assert "| seed | 0 |" in page


def test_a_bar_in_a_score_does_not_break_the_table(tmp_path):
    page = read_card(write(tmp_path, GOOD + '[[scores]]\nevent = "a|b"\n')).to_markdown()
    assert "| a\\|b |" in page


def test_a_baseline_needs_no_weights(tmp_path):
    text = GOOD.split("[weights]")[0].replace("learned", "baseline")
    one = read_card(write(tmp_path, text))
    assert one.weights is None
    assert one.weights_path() is None
    assert "## Weights" not in one.to_markdown()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("title", "tittle"), "one.toml: unknown key 'tittle'; did you mean 'title'"),
        (('title = "One"', ""), "one.toml: key 'title' is missing"),
        (('"One"', "1"), "one.toml: title: expected text, got int 1"),
        (('"One"', "true"), "one.toml: title: expected text, got bool True"),
        (
            ('"A model."', '"A model."\nparameters = true'),
            "parameters: expected a whole number, got bool True",
        ),
        (
            ('"A model."', '"A model."\nparameters = 1.5'),
            "parameters: expected a whole number, got float 1.5",
        ),
        (('"A model."', '"A model."\nlimits = "none"'), "limits: expected an array, got str 'none'"),
        (('"A model."', '"A model."\nlimits = [1]'), r"limits\[0\]: expected text, got int 1"),
        (('"A model."', '"A model."\ninput = 3'), "input: expected a table, got int"),
        (("[weights]", "[input]\ngrid = [64]\n[weights]"), "input: grid: expected 2 values, got 1"),
        (
            ("[weights]", "[input]\ngrid = [64, 32]\n[weights]"),
            r"input grid is \[64, 32\], expected \[least, most\]",
        ),
        (("[weights]", "[input]\npixel_km = [0, 1]\n[weights]"), r"input pixel_km is \[0.0, 1.0\], expected"),
        (("[weights]", "scores = [1]\n[weights]"), r"scores\[0\]: expected a table, got int 1"),
        (("[weights]", '[self_check]\nfile = "a"\n[weights]'), "self_check: key 'tolerance' is missing"),
        (("[weights]", '[self_check]\nfile = "../a"\ntolerance = 1\n[weights]'), "without folders"),
        (
            ("one.safetensors", "../one.safetensors"),
            "'../one.safetensors' must be a file's name without folders",
        ),
        (("file =", "size = 1\nfile ="), "weights: unknown key 'size'"),
        (("file =", 'url = "https://x"\nfile ='), "needs either file .* or url"),
        (('file = "one.safetensors"', ""), "needs either file .* or url"),
        (("a" * 64, "A" * 64), "sha256 must be 64 hexadecimal digits"),
        (("a" * 64, "a" * 63), "sha256 must be 64 hexadecimal digits"),
        (('sha256 = "' + "a" * 64 + '"', ""), "with a file needs its sha256"),
        (('"learned"', '"magic"'), "kind is 'magic', expected one of learned, baseline, published"),
        (
            ("[weights]", 'forecast_type = "wild"\n[weights]'),
            "forecast_type is 'wild', expected one of carried",
        ),
        (('name = "one"', 'name = "two"'), "name is 'two', expected 'one' as the file is called"),
        (("[weights]", "[weights"), "one.toml is not TOML"),
    ],
)
def test_a_card_that_is_not_right_is_refused_by_name(tmp_path, change, expected):
    text = GOOD.replace(*change)
    assert text != GOOD
    with pytest.raises(ConfigError, match=expected) as caught:
        read_card(write(tmp_path, text))
    assert "one.toml" in str(caught.value)


def test_a_card_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "one.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"one.toml is not TOML"):
        read_card(path)


def test_a_learned_model_without_weights_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"a learned model needs \[weights\]"):
        read_card(write(tmp_path, GOOD.split("[weights]")[0]))


def test_cards_are_plain_toml_that_any_tool_reads():
    for path in CARDS.glob("*.toml"):
        assert tomllib.loads(path.read_text())["name"] == path.stem


def test_models_stand_in_one_order_whatever_the_folder_says(tmp_path, monkeypatch):
    for name, kind in (("a", "baseline"), ("b", "learned")):
        text = GOOD.replace('"one"', f'"{name}"').replace("learned", kind)
        write(tmp_path, text, f"{name}.toml")
    monkeypatch.setattr(cards, "CARDS", tmp_path)
    assert [one.name for one in list_models()] == ["b", "a"]
    assert isinstance(list_models()[0], ModelCard)
