"""Networks of frames: batches, groups, scores by hand, and each kind of data to the end of a short run."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from geoscope.data.rain_scale import encode_rain
from geoscope.errors import ConfigError, DataError
from geoscope.models.networks.weights import NetworkHeader, read_network, save_network
from geoscope.training import frame_data, tasks
from geoscope.training.contact_sheet import colour, contact_sheet
from geoscope.training.engine import Settings
from geoscope.training.frame_data import First, FrameData
from geoscope.training.frames import FramesTask, ModelTable, published_groups, shuffled, squared_error
from tests.data.sevir_files import three_splits

HEAD = """
steps = 2
batch = 2
micro_batch = 1
threads = 1
workers = 0
log_every = 1
validate_every = 1
estimate = false
"""


class Ramp:
    """Sample i is all i / 100."""

    def __init__(self, count, encoding="unit"):
        self.count, self.encoding = count, encoding

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        frames = np.full((4, 8, 8, 1), index / 100, dtype=np.float32)
        return {"input": frames[:2], "target": frames[2:]}


def ramp_task(encoding="unit", count=6, **changes):
    settings = Settings(**{"steps": 4, "batch": 2, "workers": 0, **changes})
    data = FrameData(Ramp(count), Ramp(3), encoding, "ramps", "by hand")
    return FramesTask(ModelTable(name="unet"), data, settings)


def test_every_sample_comes_once_in_an_epoch_in_an_order_of_its_own():
    task = ramp_task()
    seen = [task.batch(index)["input"][:, 0, 0, 0, 0].mul(100).round().int().tolist() for index in range(6)]
    first, second = ([one for batch in half for one in batch] for half in (seen[:3], seen[3:]))
    assert sorted(first) == sorted(second) == list(range(6))
    assert first != second
    assert first == shuffled(0, 0, 6).tolist()


def test_a_batch_is_the_same_in_one_piece_or_in_several():
    whole, parts = ramp_task(batch=4), ramp_task(batch=4, micro_batch=2)
    together = torch.cat([parts.batch(2)["input"], parts.batch(3)["input"]])
    torch.testing.assert_close(whole.batch(1)["input"], together)


def test_layer_norms_and_biases_do_not_decay_the_rest_does():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.group = nn.LayerNorm(2), nn.GroupNorm(1, 2)
            self.linear, self.places = nn.Linear(2, 2), nn.Embedding(3, 2)
            self.bias_table = nn.Parameter(torch.zeros(5, 1))

    net = Net()
    decayed, plain = published_groups(net, 0.01)
    names = {id(p): name for name, p in net.named_parameters()}
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.01, 0.0)
    assert {names[id(p)] for p in decayed["params"]} == {"group.weight", "linear.weight", "places.weight"}
    assert {names[id(p)] for p in plain["params"]} == {
        "norm.weight", "norm.bias", "group.bias", "linear.bias", "bias_table",
    }  # fmt: skip


def test_the_loss_leaves_out_what_is_not_known():
    forecast, target = torch.tensor([1.0, 5.0]), torch.tensor([3.0, torch.nan])
    assert squared_error(forecast, target).item() == 4.0
    assert squared_error(forecast, torch.full((2,), torch.nan)).item() == 0.0
    forecast.requires_grad_()
    squared_error(forecast, target).backward()
    assert forecast.grad.tolist() == [-4.0, 0.0]


class Same(nn.Module):
    """Forecasts one field whatever comes."""

    def __init__(self, field):
        super().__init__()
        self.field = field

    def forward(self, x):
        return self.field


def test_scores_on_sevir_by_hand():
    """Codes 219 and 16 are seen; 219 and 0 are forecast: the lowest threshold has one hit and one miss."""
    task = ramp_task("vil")
    scale = np.float32(1 / 255)
    batch = {"input": torch.zeros(1), "target": torch.tensor([219.0, 16.0, 0.0]) * scale}
    scores = task.scores(task.validate(Same(torch.tensor([219.0, 0.0, 0.0]) * scale), batch))
    assert scores["csi_16"] == pytest.approx(0.5, abs=1e-3)
    assert scores["csi_219"] == pytest.approx(1.0, abs=1e-3)
    assert scores["csi_m"] == pytest.approx(5.5 / 6, abs=1e-3)
    assert scores["mse"] == pytest.approx((16 / 255) ** 2 / 3)
    assert (task.monitor, task.direction) == ("csi_m", "max")


def test_scores_on_rain_by_hand():
    """4 and 0.7 mm/h are seen; 4 and 0 are forecast; what is not known counts nowhere."""
    task = ramp_task("log rain")
    target = torch.from_numpy(encode_rain(np.array([4.0, 0.7, 9.0])))
    batch = {"input": torch.zeros(1), "target": target, "known": torch.tensor([True, True, False])}
    scores = task.scores(task.validate(Same(torch.from_numpy(encode_rain(np.array([4.0, 0.0, 0.0])))), batch))
    assert scores["csi_0.5"] == 0.5
    assert scores["csi_2"] == 1.0
    assert np.isnan(scores["csi_5"])
    assert scores["csi_m"] == pytest.approx((0.5 + 1 + 1 + 0 + 0) / 5)


def test_fewer_and_fewer_true_frames_are_shown():
    task = ramp_task(steps=10)
    task.model = replace(task.model, shown_until=0.5)
    assert [task.batch(i)["shown"].item() for i in (0, 2, 5, 9)] == pytest.approx([1.0, 0.6, 0.0, 0.0])
    with pytest.raises(ConfigError, match="shown_until=2: expected a share"):
        ModelTable(name="predrnn", shown_until=2)


def test_a_part_of_the_validation_is_spread_over_it():
    assert First(Ramp(10), 4).indices == [0, 2, 5, 7]
    assert len(First(Ramp(10), 0)) == len(First(Ramp(10), 50)) == 10
    with pytest.raises(ConfigError, match="validation_count=-1"):
        First(Ramp(10), -1)


def test_an_empty_split_is_refused():
    class Empty:
        kind = "ramps"

        def open(self, beside, seed):
            return FrameData(Ramp(3), Ramp(0), "unit", "", "")

    with pytest.raises(DataError, match="kind 'ramps': the split validation is empty"):
        frame_data.open_table(Empty(), None, 0)


def train(folder, text, progress=lambda stage, share: None):
    path = folder / "run.toml"
    path.write_text(HEAD + text)
    tasks.TASKS["nowcast"](path, folder / "out", progress)
    return folder / "out"


def test_moving_digits_to_the_end(tmp_path):
    out = train(
        tmp_path,
        '[model]\nname = "predrnn"\nshown_until = 1.0\n[data]\nkind = "moving-mnist"\ncount = 4\n'
        "validation_count = 3\nin_frames = 2\nout_frames = 2\nsize = 32\n",
    )
    network, header = read_network(out / "model.safetensors")
    assert header == NetworkHeader(
        name="predrnn",
        size="small",
        in_frames=2,
        out_frames=2,
        height=32,
        width=32,
        channels=1,
        encoding="unit",
    )
    assert network(torch.zeros(1, 2, 32, 32, 1)).shape == (1, 2, 32, 32, 1)
    assert sorted(path.name for path in (out / "pictures").iterdir()) == [
        "step-0000001.png",
        "step-0000002.png",
    ]
    assert json.loads((out / "run.json").read_text())["facts"]["data"][0].startswith("moving digits")
    assert (out / "recipe.toml").read_text() == (tmp_path / "run.toml").read_text()
    header_line, *rows = (out / "scores.csv").read_text().splitlines()
    assert header_line == "step,mse,mae"
    assert len(rows) == 2


def test_n_body_digits_to_the_end(tmp_path):
    out = train(
        tmp_path,
        '[model]\nname = "unet"\n[data]\nkind = "nbody-mnist"\ncount = 2\nvalidation_count = 1\nin_frames = 2\n'
        "out_frames = 2\nsize = 32\n",
    )
    assert read_network(out / "model.safetensors")[1].name == "unet"


def test_sevir_to_the_end(tmp_path, monkeypatch):
    three_splits(tmp_path / "sevir")
    monkeypatch.setattr(NetworkHeader, "network", lambda self: nn.Linear(1, 1))

    def forward(self, x):
        return x[:, -1:].expand(-1, 12, -1, -1, -1) * self.weight.sum() + self.bias.sum()

    monkeypatch.setattr(nn.Linear, "forward", forward)
    out = train(tmp_path, '[model]\nname = "earthformer"\n[data]\nkind = "sevir"\nfolder = "sevir"\n')
    assert "csi_m" in (out / "scores.csv").read_text()
    assert json.loads((out / "run.json").read_text())["monitor"] == "csi_m"


def test_sevir_is_split_as_published_or_by_a_share_of_days(tmp_path):
    three_splits(tmp_path / "sevir")
    table = {"kind": "sevir", "folder": "sevir", "looks": 8}
    by_date = frame_data.open_table(frame_data.read_table(table, "run.toml"), tmp_path, 0)
    assert (len(by_date.train), len(by_date.validation)) == (8 * 3 * 4, 3 * 2)
    table["validation_share"] = 0.34
    by_days = frame_data.open_table(frame_data.read_table(table, "run.toml"), tmp_path, 0)
    assert len(by_days.train) // 8 + len(by_days.validation) == 3 * 6
    assert "0.34 of the days" in by_days.split


def test_sequences_of_vil_codes_are_split_by_their_names(tmp_path):
    for name in ("a_1", "a_2", "b_1"):
        codes = np.full((9, 16, 16), 51, dtype=np.uint8)
        np.savez(tmp_path / f"{name}.npz", vil=codes, meta=json.dumps({"dt_minutes": 5, "pixel_km": 3}))
    table = {"kind": "vil-sequences", "folder": ".", "validate_on": ["b"], "in_frames": 3, "out_frames": 2}
    data = frame_data.open_table(frame_data.read_table(table, "run.toml"), tmp_path, 0)
    assert (len(data.train), len(data.validation), data.encoding) == (2 * 5, 3, "vil")
    np.testing.assert_allclose(data.train[0]["target"], 0.2)
    with pytest.raises(DataError, match="the split 'validation' is empty"):
        frame_data.open_table(frame_data.read_table({**table, "validate_on": ["c"]}, "run.toml"), tmp_path, 0)
    with pytest.raises(DataError, match=r"expected \.npz files of VIL sequences, found none"):
        frame_data.open_table(frame_data.read_table({**table, "folder": "no"}, "run.toml"), tmp_path, 0)


def test_folders_of_storms_are_split_by_storms_and_train_to_the_end(tmp_path):
    (tmp_path / "events").mkdir()
    for number in range(3):
        rain = np.random.default_rng(number).integers(0, 3000, (9, 16, 16)).astype(np.uint16)
        meta = json.dumps({"dt_minutes": 10, "pixel_km": 2})
        np.savez(tmp_path / "events" / f"storm_{number}.npz", rain=rain, meta=meta)
    out = train(
        tmp_path,
        '[model]\nname = "unet"\n[data]\nkind = "events"\nfolder = "events"\nin_frames = 2\nout_frames = 2\nsize = 16\n'
        "stride = 4\n[data.augmentation]\nturns = true\n",
    )
    _, header = read_network(out / "model.safetensors")
    assert (header.encoding, header.pixel_km, header.interval_minutes) == ("log rain", 2.0, 10.0)
    facts = json.loads((out / "run.json").read_text())["facts"]
    names = {f"storm_{number}" for number in range(3)}
    assert [name for name in names if name in facts["split"] and name in facts["data"][0]] == []
    assert all(name in facts["split"] or name in facts["data"][0] for name in names)


MINIMAL = '[model]\nname = "unet"\n[data]\nkind = "moving-mnist"\n'


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (MINIMAL.replace("unet", "unett"), ConfigError, r"\[model\] name 'unett' is not known; did you mean 'unet'"),
        (MINIMAL.replace("kind =", "knd ="), ConfigError, r"\[data\] needs kind, one of sevir, vil-sequences"),
        (MINIMAL.replace("moving-mnist", "moving"), ConfigError, "kind 'moving' is not known; did you mean 'moving-"),
        (MINIMAL + "cuont = 3", ConfigError, r"run.toml: \[data\]: unknown key 'cuont'; did you mean 'count'"),
        (MINIMAL + "count = 1.5", ConfigError, r"\[data\]: count: expected a whole number, got float 1.5"),
        (MINIMAL + "count = 0", ConfigError, "count=0: expected 1 or more samples"),
        (MINIMAL + 'file = "a"\nfolder = "b"', ConfigError, "file and folder"),
        ("wrkers = 2\n" + MINIMAL, ConfigError, "run.toml: unknown key 'wrkers'; did you mean 'workers'"),
        ('precision = "float64"\n' + MINIMAL, ConfigError, "precision: expected one of 'float32', 'bfloat16'"),
        ("clip = -1\n" + MINIMAL, ConfigError, "run.toml: clip=-1.0 must not be below zero"),
        (MINIMAL.replace('"unet"', '"unet"\nsize = "huge"'), ConfigError, r"\[model\]: size: expected one of 'small'"),
        ('[model]\nname = "unet"\n', ConfigError, "key 'data' is missing"),
        ("model = 3\n", ConfigError, r"\[model\] must be a table with a name"),
        ('events = "."\n[model]\nname = "nowcaster"\nsize = "small"', ConfigError, "has only a name, got name, size"),
        (MINIMAL.replace("moving-mnist", "sevir") + 'folder = "no"', DataError, "no"),
        (MINIMAL.replace("moving-mnist", "events") + 'folder = "no"', DataError, "expected a folder of events"),
        (MINIMAL.replace("moving-mnist", "events") + 'folder = "."\nvalidation_share = 1.5', ConfigError, "share=1.5"),
    ],
)  # fmt: skip
def test_a_recipe_that_cannot_work_is_refused(tmp_path, text, error, message):
    path = tmp_path / "run.toml"
    path.write_text(("" if "steps" in text else "steps = 2\nworkers = 0\n") + text)
    with pytest.raises(error, match=message) as caught:
        tasks.open_task(path)
    assert "\n" not in str(caught.value)


def test_the_recipes_that_ship_are_right(repository, monkeypatch):
    monkeypatch.setattr(
        frame_data, "open_table", lambda table, beside, seed: FrameData(Ramp(9), Ramp(9), "unit", "", "")
    )
    monkeypatch.setattr("geoscope.training.nowcast.NowcasterTask.__init__", lambda self, *_: None)
    paths = sorted((repository / "geoscope" / "training" / "recipes").glob("*.toml"))
    found = {path.stem: tasks.open_task(path) for path in paths if not path.stem.startswith("prediff-")}
    assert {"earthformer-nowcast", "earthformer-sevir", "earthformer-small", "earthformer-my-radar"} <= set(
        found
    )
    published, task = found["earthformer-sevir"]
    assert (published.accumulate, published.total_steps(35718), published.patience) == (16, 111618, 20)
    assert (task.header.name, task.header.size) == ("earthformer", "published")


def test_weights_that_are_not_of_a_network_are_refused(tmp_path):
    from safetensors.torch import save_file

    from geoscope.errors import WeightsError

    path = tmp_path / "a.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata={"format": "other"})
    with pytest.raises(WeightsError, match=r"a\.safetensors does not hold a network of frames"):
        read_network(path)
    header = NetworkHeader(
        name="unet", size="small", in_frames=2, out_frames=2, height=32, width=32, channels=1, encoding="unit"
    )
    save_network(nn.Linear(1, 1), header, path)
    with pytest.raises(WeightsError, match="does not fit the network unet that it names"):
        read_network(path)
    save_network(nn.Linear(1, 1), replace(header, encoding="decibels"), path)
    with pytest.raises(WeightsError, match="encoding 'decibels'; expected"):
        read_network(path)
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        read_network(path)


def test_a_contact_sheet_shows_rows_and_grey_where_nothing_is_known():
    assert colour(np.array([[np.nan, 0.0, 1.0]]), 1.0).tolist() == [
        [[90, 90, 90], [13, 17, 40], [253, 245, 170]]
    ]
    sheet = contact_sheet([("past", np.zeros((3, 32, 32))), ("truth", np.ones((9, 32, 32)))], columns=4)
    assert sheet.shape == (2 * (96 + 2), 56 + 4 * (96 + 2), 3)
    assert contact_sheet([("large", np.zeros((1, 384, 384)))]).shape == (192 + 2, 56 + 192 + 2, 3)
