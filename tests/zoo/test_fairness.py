"""The rule for fair comparisons."""

import dataclasses

import pytest

from geoscope.errors import ConfigError
from geoscope.zoo.cards import card, list_models
from geoscope.zoo.fairness import explain, fair_baselines, fairest_of


def names(model, **options):
    return [baseline.name for baseline in fair_baselines(model, **options)]


def test_an_error_minimising_net_is_held_against_sprog_anvil_or_an_ensemble_mean():
    fair = fair_baselines("earthformer-nowcast")
    assert [baseline.name for baseline in fair] == ["pysteps-sprog", "pysteps-anvil", "pysteps-steps"]
    assert "smooths away" in fair[0].reason
    assert "mean of its members" in fair[2].reason


def test_a_generative_model_is_held_against_steps():
    drawn = dataclasses.replace(card("earthformer-nowcast"), forecast_type="generative", fair_against=())
    fair = fair_baselines(drawn)
    assert fair[0].name == "pysteps-steps"
    assert "members with members" in fair[0].reason


def test_members_of_linda_are_compared_with_members():
    assert names("pysteps-linda") == ["pysteps-sprog", "pysteps-anvil"]
    assert names("pysteps-linda", members=True) == ["pysteps-steps"]
    (steps,) = fair_baselines("pysteps-steps", members=True)
    assert steps.name == "pysteps-linda"
    assert steps.reason == "its members are draws, to be compared with members"


def test_the_mean_of_an_ensemble_counts_as_error_minimising():
    assert names("pysteps-steps") == ["pysteps-linda"]
    assert names("pysteps-steps", members=False) == ["pysteps-sprog", "pysteps-anvil"]
    assert "error-minimising" in explain("pysteps-steps", members=False)


def test_carried_rain_is_compared_with_carried_rain():
    assert names("extrapolation") == ["pysteps-extrapolation", "persistence"]
    assert names("persistence") == ["extrapolation", "pysteps-extrapolation"]
    without = dataclasses.replace(card("persistence"), fair_against=())
    assert names(without) == ["pysteps-extrapolation", "extrapolation"]


def test_nothing_is_claimed_of_a_model_that_does_not_say_what_it_gives():
    silent = dataclasses.replace(card("persistence"), forecast_type="", fair_against=())
    assert fair_baselines(silent) == []
    assert explain(silent) == ""


def test_a_model_of_another_task_has_no_baseline_here():
    assert fair_baselines("earthformer-icar-enso") == []


def test_the_fairest_of_those_at_hand_is_found():
    found = fairest_of("earthformer-nowcast", ["persistence", "pysteps-steps", "pysteps-anvil"])
    assert found is not None
    assert found.name == "pysteps-anvil"
    assert fairest_of("earthformer-nowcast", ["persistence", "extrapolation"]) is None


def test_the_rule_is_told_in_one_sentence_of_titles():
    assert explain("earthformer-nowcast") == (
        "Earthformer nowcast is an error-minimising forecast, fairly compared with pysteps S-PROG, pysteps ANVIL or "
        "the mean of pysteps STEPS: each smooths away what cannot be foretold to keep the error small: they differ in "
        "skill, not in sharpness."
    )
    assert explain("pysteps-steps", members=True).startswith("pysteps STEPS is a generative forecast")
    assert explain("pysteps-steps", members=False).startswith(
        "The mean of pysteps STEPS is an error-minimising forecast, fairly compared with pysteps S-PROG or pysteps"
    )


@pytest.mark.parametrize("members", [None, False, True])
@pytest.mark.parametrize(
    "one", [one for one in list_models() if one.task == "nowcast"], ids=lambda one: one.name
)
def test_no_rule_speaks_of_two_where_there_are_three_or_of_names_that_have_titles(one, members):
    text = explain(one, members=members)
    assert "both" not in text
    for other in list_models():
        assert other.name not in text or other.name in other.title
    for baseline in fair_baselines(one, members=members):
        assert card(baseline.name).title in text


@pytest.mark.parametrize(
    "one", [one for one in list_models() if one.task == "nowcast"], ids=lambda one: one.name
)
def test_every_nowcast_card_says_what_it_gives_and_whom_it_meets(one):
    assert one.forecast_type
    assert fair_baselines(one)
    assert set(one.fair_against) <= {other.name for other in list_models()} - {one.name}
    assert one.forecast_type in one.to_markdown()


def test_an_unknown_model_is_refused():
    with pytest.raises(ConfigError, match="no model is called 'oracle'"):
        fair_baselines("oracle")
