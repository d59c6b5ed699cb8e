"""`geoscope models` and `geoscope samples`."""

import geoscope as gs


def test_every_sample_is_listed_with_its_credit(run):
    text = run("samples").stdout
    for info in gs.list_samples():
        assert info.name in text
    assert "NOAA Stage IV" in text


def test_every_model_is_listed(run):
    text = run("models").stdout
    for card in gs.list_models():
        assert card.name in text


def test_a_models_card_is_printed(run):
    result = run("models", "persistence")
    assert result.exit_code == 0
    assert "persistence" in result.stdout


def test_an_unknown_model_is_refused(refused):
    assert "oracle" in refused("models", "oracle")
