"""The tuner: hand-computed losses, runs that go on where they were killed, exports that load."""

import csv
import math
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vbanana_ros.errors import InputError, ModelError
from vbanana_ros.generators.load import load_generator
from vbanana_ros.generators.nano_text import NanoTextEncoder
from vbanana_ros.generators.nano_unet import NanoUNet
from vbanana_ros.results import DepthMap
from vbanana_ros.tasks import TASKS, Request
from vbanana_ros.tuning import scenes, tuner
from vbanana_ros.tuning.examples import FREE, IGNORE, OWN
from vbanana_ros.tuning.export import export
from vbanana_ros.tuning.mixture import Mixture
from vbanana_ros.tuning.scenes import load_frame, open_scenes, save_frame, scene_path
from vbanana_ros.tuning.tune import HELD_OUT, _painter, tune_nano
from vbanana_ros.tuning.tuner import Batches, NanoPainter, Recipe, learning_rate, palette_loss, read_checkpoint, tune
from vbanana_ros.tuning.vocabulary import VOCABULARY

TINY = Recipe(size=(32, 32), images=2, answers=2, pictures=1, warmup=2)


@pytest.fixture
def data(tmp_path, sim_frame):
    """A folder of three scenes."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    for seed in range(3):
        save_frame(scene_path(folder, seed, 0), replace(sim_frame, rgb=np.roll(sim_frame.rgb, seed, 0)))
    return folder


def fed(data, **tasks):
    """A mixture of the scenes of a folder and nothing else."""
    mixture = Mixture([(open_scenes(data), 1.0)])
    return replace(mixture, tasks=tasks) if tasks else mixture


def logged(out):
    with open(out / "losses.csv", newline="") as file:
        return list(csv.reader(file))


def same(first, second):
    """Equal, bit for bit; what is not known (NaN) too."""
    return first.keys() == second.keys() and all(
        torch.equal(first[k].nan_to_num(-9), second[k].nan_to_num(-9)) for k in first)


def test_palette_loss_by_hand():
    """One coloured phrase in column 2 (1 is a phrase without colour); three free pixels, one in the colour."""
    a = 0.7
    logits = torch.tensor([0.0, -torch.inf, a]).reshape(1, 3, 1, 1).expand(1, 3, 1, 5).clone()
    choice = torch.tensor([[[FREE, FREE, FREE, 0, IGNORE]]])
    free, colored = math.log(1 + math.exp(a)), math.log(1 + math.exp(-a))
    w_free, w_colored = math.sqrt(5 / 3), math.sqrt(5)
    expected = (3 * w_free * free + w_colored * colored) / (3 * w_free + w_colored)
    guess = logits.log_softmax(1)
    assert palette_loss(guess, choice, torch.tensor([[False, True]])) == pytest.approx(expected, rel=1e-5)


def test_palette_loss_without_colours_is_zero():
    choice = torch.full((2, 3, 3), FREE)
    assert palette_loss(torch.randn(2, 2, 3, 3), choice, torch.zeros(2, 1, dtype=torch.bool)) == 0


def test_instances_take_the_own_colours_that_fit_them_best():
    """Two instances and three own colours: the best pairing counts, whatever the order; the background by its slot."""
    p = torch.tensor([[0.01, 0.05, 0.14, 0.8], [0.01, 0.09, 0.7, 0.2], [0.9, 0.0, 0.1, 0.0], [0.9, 0.0, 0.1, 0.0]])
    guess = torch.cat([torch.full((4, 1), 1e-9), p], 1).log().T.reshape(1, 5, 1, 4)  # free, the phrase, three own
    choice = torch.tensor([[[OWN, OWN + 1, 0, 0]]])
    colored = torch.tensor([[True]])
    weight = math.sqrt(4 / 2)
    expected = -(2 * math.log(0.8) + 2 * math.log(0.7) + 2 * weight * math.log(0.9)) / (4 + 2 * weight)
    swapped = torch.tensor([[[OWN + 1, OWN, 0, 0]]])
    assert palette_loss(guess, choice, colored) == palette_loss(guess, swapped, colored) == pytest.approx(expected)


def test_more_instances_than_colours_leave_some_out():
    guess = torch.zeros(1, 4, 1, 5).log_softmax(1)
    choice = torch.arange(OWN, OWN + 5).reshape(1, 1, 5)
    assert palette_loss(guess, choice, torch.tensor([[True]])) == pytest.approx(math.log(4))


def test_palette_loss_weight_is_capped():
    logits = torch.zeros(1, 2, 100, 100, requires_grad=True)
    choice = torch.full((1, 100, 100), FREE)
    choice[0, 0, 0] = 0
    palette_loss(logits.log_softmax(1), choice, torch.tensor([[True]])).backward()
    free, colored = logits.grad[0, 0, 5, 5].abs(), logits.grad[0, 0, 0, 0].abs()
    assert colored / free == pytest.approx(15 / math.sqrt(1e4 / 9999), rel=1e-3)


def test_learning_rate_warms_up_stays_and_falls():
    recipe = Recipe(rate=2.0, warmup=10, decay=0.5)
    rates = [learning_rate(step, 100, recipe) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and rates[9] == rates[49] == 2.0
    assert rates[75] == pytest.approx(1.0) and rates[99] == pytest.approx(0.04)
    assert max(abs(a - b) for a, b in zip(rates, rates[1:], strict=False)) <= 0.2 + 1e-9


def test_a_batch_is_a_function_of_seed_and_step(data):
    tokenizer = NanoTextEncoder(VOCABULARY, dim=32).tokenizer
    first, again, other = (Batches(fed(data), TINY, tokenizer, seed) for seed in (1, 1, 2))
    again[0], again[7]
    assert same(first[3], again[3])
    assert not same(first[3], first[4]) and not same(first[3], other[3])


def test_a_batch_fits_together(data):
    tokenizer = NanoTextEncoder(VOCABULARY, dim=32).tokenizer
    for step in range(8):
        batch = Batches(fed(data), replace(TINY, pictures=2), tokenizer, 0)[step]
        n, rows = len(batch["owner"]), len(batch["ids"])
        assert rows == n + 2 == len(batch["text_sample"]) + len(batch["edit_sample"]) + n
        assert len(batch["edit_image"]) == len(batch["edit_sample"]) == len(batch["edit_time"])
        assert batch["images"].shape == (2, 3, 32, 32) and batch["owner"].unique().tolist() == [0, 1]
        assert batch["targets"].shape == (rows, 3, 16, 16) and batch["targets"].abs().max() <= 1
        assert batch["choice"].shape == (rows, 16, 16) and batch["choice"].dtype == torch.int64
        assert batch["facts"].shape == (2, 7, 8, 8) and batch["phase"].max() <= 1
        # No row chooses a colour that its prompt does not have.
        chosen = batch["choice"].masked_fill(batch["choice"] >= OWN, -1).amax((1, 2))
        assert (chosen < batch["colored"].sum(1)).all()


def test_targets_are_every_second_pixel_from_the_phase(data, monkeypatch):
    """What is painted from a phase is compared with the answer at the same pixels."""
    monkeypatch.setattr(scenes, "mirror", lambda frame: frame)
    tokenizer = NanoTextEncoder(VOCABULARY, dim=32).tokenizer
    recipe = replace(TINY, size=(48, 64), pictures=0, answers=1)
    frame = load_frame(scene_path(data, 0, 0))  # the three scenes differ by their colours alone
    whole = np.asarray(TASKS["depth"].encode(DepthMap(frame.depth, frame.depth), Request("depth")))
    phases = set()
    for step in range(12):
        batch = Batches(fed(data, depth=1.0), recipe, tokenizer, 0)[step]
        row, column = batch["phase"].tolist()
        phases.add((row, column))
        expected = torch.from_numpy(2 * whole[row::2, column::2] - 1).permute(2, 0, 1)
        assert torch.equal(batch["targets"][0], expected) and torch.equal(batch["targets"][1], expected)
    assert phases == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_a_killed_run_goes_on_exactly_where_it_was(data, tmp_path, painter, monkeypatch):
    whole = tune(painter(1), fed(data), tmp_path / "a", 5, TINY, save_every=2, workers=0)

    class Killed(Exception):
        pass

    inner, seen = tuner.losses, []

    def dies(*args):
        seen.append(None)
        if len(seen) == 4:
            raise Killed
        return inner(*args)
    monkeypatch.setattr(tuner, "losses", dies)
    with pytest.raises(Killed):
        tune(painter(1), fed(data), tmp_path / "b", 5, TINY, save_every=2, workers=0)
    assert [row[0] for row in logged(tmp_path / "b")] == ["0", "1", "2"]  # one more than the checkpoint has
    monkeypatch.setattr(tuner, "losses", inner)
    resumed = tune(painter(9), fed(data), tmp_path / "b", 5, TINY, save_every=2, workers=0)
    assert logged(tmp_path / "a") == logged(tmp_path / "b") and len(logged(tmp_path / "a")) == 5
    assert same(whole.state_dict(), resumed.state_dict())


def test_a_kill_while_a_checkpoint_is_written_leaves_the_last(data, tmp_path, painter, monkeypatch):
    tune(painter(), fed(data), tmp_path, 2, TINY, save_every=2, workers=0)

    def dies(state, path):
        path.write_bytes(b"half of it")
        raise KeyboardInterrupt
    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        tune(painter(), fed(data), tmp_path, 4, TINY, save_every=2, workers=0)
    assert read_checkpoint(tmp_path / "checkpoint.pt")["step"] == 2


def test_a_broken_checkpoint_is_named(data, tmp_path, painter):
    for content in (b"", b"no pickle", b"PK\x03\x04"):
        (tmp_path / "checkpoint.pt").write_bytes(content)
        with pytest.raises(InputError, match="checkpoint.pt.*is no checkpoint"):
            tune(painter(), fed(data), tmp_path, 2, TINY, workers=0)


def test_a_broken_scene_is_left_out_counted_and_named(data, tmp_path, painter, capfd):
    (data / "0000001_0.npz").write_bytes(b"broken")
    tune(painter(), fed(data), tmp_path / "out", 3, TINY, workers=0)
    said = capfd.readouterr().out
    assert said.count("left out (1)") == 1 and "0000001_0.npz" in said.replace("\n", "")
    assert len(logged(tmp_path / "out")) == 3


def test_nothing_but_broken_scenes_ends_the_run(data, tmp_path, painter):
    for path in data.iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(InputError, match="20 records in a row cannot be read, such as: scene .*npz"):
        tune(painter(), fed(data), tmp_path / "out", 3, TINY, workers=0)
    with pytest.raises(InputError, match="no scenes in"):
        tune(painter(), fed(tmp_path), tmp_path / "out", 3, TINY, workers=0)


PROCESS = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from conftest import tiny_painter
from vbanana_ros.tuning.mixture import Mixture
from vbanana_ros.tuning.scenes import open_scenes
from vbanana_ros.tuning.tuner import Recipe, tune
torch.set_num_threads(1)
data, out = Path(sys.argv[1]), Path(sys.argv[2])
recipe = Recipe(size=(32, 32), images=2, answers=2, pictures=1, warmup=2)
mixture = Mixture([(open_scenes(data), 1.0)])
trained = tune(tiny_painter(int(sys.argv[3])), mixture, out, 3, recipe, save_every=2, workers=0)
torch.save(trained.state_dict(), out / f"{sys.argv[3]}.pt")
"""


def test_two_processes_share_the_work(data, tmp_path):
    """Other batches in each, the same weights in both, written by the first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    env = os.environ | {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
                        "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    processes = [subprocess.Popen([sys.executable, "-c", PROCESS, str(data), str(tmp_path / "out"), str(rank)],
                                  env=env | {"RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(2)]
    assert [p.wait(timeout=240) for p in processes] == [0, 0]
    first, second = (torch.load(tmp_path / "out" / f"{rank}.pt") for rank in range(2))
    assert same(first, second)  # though each began with other weights
    assert [row[0] for row in logged(tmp_path / "out")] == ["0", "1", "2"]
    assert read_checkpoint(tmp_path / "out" / "checkpoint.pt")["step"] == 3


def test_one_scene_can_be_learnt(data, tmp_path, painter):
    recipe = Recipe(size=(32, 32), images=2, answers=2, pictures=0, rate=5e-3, warmup=5)
    tune(painter(), fed(data, depth=1.0, normals=1.0), tmp_path / "out", 80, recipe, workers=0)
    rgb = [float(row[1].removeprefix("rgb=")) for row in logged(tmp_path / "out")]
    assert np.mean(rgb[-5:]) < 0.5 * np.mean(rgb[:5])


def test_the_default_model_is_small_on_disk_and_paints_the_same_in_fp16(tmp_path):
    torch.manual_seed(0)
    full = NanoPainter(NanoTextEncoder(VOCABULARY), NanoUNet()).eval()
    (tmp_path / "nano").mkdir()
    (tmp_path / "nano" / "stale").touch()
    export(full, tmp_path / "nano", area=32 * 32, about="Random.")
    assert sum(p.stat().st_size for p in (tmp_path / "nano").rglob("*")) <= 40e6
    assert [p.name for p in tmp_path.iterdir()] == ["nano"] and not (tmp_path / "nano" / "stale").exists()
    generator = load_generator(tmp_path / "nano", "cpu")
    assert generator.name == "nano" and "Random." in (tmp_path / "nano" / "README.md").read_text()
    frame = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    prompts = ["Paint the depth.", "the cat is red."]
    painted = generator.generate(generator.encode_image(frame), generator.encode_prompts(prompts))
    with torch.no_grad():
        image = torch.from_numpy(frame).permute(2, 0, 1)[None] / 127.5 - 1
        tokens = full.text_encoder(**full.text_encoder.tokenizer(prompts))
        exact = full.unet(image.expand(2, -1, -1, -1), torch.zeros(2, 3, 32, 32), torch.ones(2), tokens).rgb
    exact = (exact / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    assert np.abs(painted - exact).max() < 0.01


def test_tuning_starts_from_a_model(painter, tmp_path):
    export(painter(1), tmp_path / "model", area=32 * 32, about="tiny")
    started = _painter(str(tmp_path / "model"))
    assert all(p.requires_grad and p.dtype == torch.float32 for p in started.parameters())
    for part in ("text_encoder", "unet"):
        first, second = (getattr(p, part).parameters() for p in (started, painter(1)))
        assert all(torch.allclose(ours, theirs, atol=1e-3) for ours, theirs in zip(first, second, strict=True))


def test_tune_nano_refuses_what_it_must_not_touch(tmp_path):
    options = {"steps": 1, "size": (32, 32), "images": 1, "rate": 1e-3}
    with pytest.raises(InputError, match="held-out seeds"):
        tune_nano(tmp_path, tmp_path, scenes=HELD_OUT + 1, **options)
    with pytest.raises(ModelError, match="no model directory .*gone"):
        tune_nano(tmp_path, tmp_path, scenes=1, start=str(tmp_path / "gone"), **options)
