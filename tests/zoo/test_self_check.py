"""The self-check catches a library that computes something else than the one that made the weights."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from geoscope.errors import WeightsError
from geoscope.zoo import cards, self_check
from geoscope.zoo.cards import ModelCard, SelfCheck

INPUTS = {"rain": np.arange(12, dtype=np.float32).reshape(3, 2, 2), "minutes": np.array([5.0])}


def double(inputs):
    return 2 * inputs["rain"]


@pytest.fixture
def one(tmp_path, monkeypatch):
    """A card whose self-check stores that `double` doubles."""
    monkeypatch.setattr(cards, "WEIGHTS", tmp_path)
    texts = {"name": "one", "title": "One", "task": "nowcast", "kind": "learned", "summary": "A model."}
    one = ModelCard(self_check=SelfCheck(file="one.check.safetensors", tolerance=1e-3), **texts)
    self_check.write(one, INPUTS, double(INPUTS))
    return one


def test_the_stored_answer_passes(one, tmp_path):
    assert self_check.check(one, double) == 0.0
    assert [path.name for path in tmp_path.iterdir()] == ["one.check.safetensors"]


def test_inputs_come_back_as_they_were(one):
    inputs, output = self_check.read(cards.WEIGHTS / one.self_check.file)
    assert set(inputs) == {"rain", "minutes"}
    for name, value in INPUTS.items():
        np.testing.assert_array_equal(inputs[name], value)
    np.testing.assert_array_equal(output, double(INPUTS))


def test_the_largest_difference_is_given(one):
    assert self_check.check(one, lambda inputs: double(inputs) + 5e-4) == pytest.approx(5e-4, rel=0.1)


def test_another_answer_is_refused(one):
    with pytest.raises(
        WeightsError, match=r"off by 0.0\d+, at most 0.001 is allowed; install geoscope again"
    ):
        self_check.check(one, lambda inputs: double(inputs) + 0.01)


def test_an_infinite_answer_is_refused(one):
    with pytest.raises(WeightsError, match="off by inf"):
        self_check.check(one, lambda inputs: double(inputs) + np.inf)


def test_another_shape_is_refused(one):
    with pytest.raises(WeightsError, match=r"shape \(2, 2, 2\), expected \(3, 2, 2\)"):
        self_check.check(one, lambda inputs: double(inputs)[1:])


def test_no_data_must_be_no_data_in_both(one):
    answer = double(INPUTS)
    answer[0, 0, 0] = np.nan
    with pytest.raises(WeightsError, match="other pixels have no data"):
        self_check.check(one, lambda inputs: answer)
    self_check.write(one, INPUTS, answer)
    assert self_check.check(one, lambda inputs: answer) == 0.0


def test_a_card_without_a_self_check_passes_unasked(one):
    assert self_check.check(replace(one, self_check=None), double) == 0.0


def test_a_card_without_a_self_check_cannot_store_one(one):
    with pytest.raises(WeightsError, match=r"one has no \[self_check\] on its card"):
        self_check.write(replace(one, self_check=None), INPUTS, double(INPUTS))


def test_an_input_called_output_is_refused(one):
    with pytest.raises(WeightsError, match="cannot be called 'output'"):
        self_check.write(one, {"output": INPUTS["rain"]}, double(INPUTS))


def test_a_self_check_can_be_written_anywhere(tmp_path):
    path = self_check.write(tmp_path / "own.safetensors", INPUTS, double(INPUTS))
    np.testing.assert_array_equal(self_check.read(path)[1], double(INPUTS))


def test_a_missing_self_check_is_named(one):
    (cards.WEIGHTS / one.self_check.file).unlink()
    with pytest.raises(
        WeightsError, match=r"the self-check one.check.safetensors is not in this installation"
    ):
        self_check.check(one, double)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all"])
def test_a_damaged_self_check_is_named(one, content):
    (cards.WEIGHTS / one.self_check.file).write_bytes(content)
    with pytest.raises(WeightsError, match=r"the self-check one.check.safetensors cannot be read"):
        self_check.check(one, double)


def test_another_file_is_not_a_self_check(one):
    save_file({"rain": INPUTS["rain"]}, cards.WEIGHTS / one.self_check.file)
    with pytest.raises(WeightsError, match=r"one.check.safetensors is not a self-check"):
        self_check.check(one, double)
