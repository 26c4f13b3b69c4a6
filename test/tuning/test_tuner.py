"""The tuner: runs that go on where they were killed, several processes, the best model kept."""

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vbanana_ros.errors import InputError, ModelError
from vbanana_ros.generators.load import load_generator
from vbanana_ros.generators.profile import FILE
from vbanana_ros.tuning import checkpoint, tuner
from vbanana_ros.tuning.recipe import Recipe
from vbanana_ros.tuning.tune import HELD_OUT, own_sizes, tune_model
from vbanana_ros.tuning.tuner import batch_workers, tune

TINY = {"size": (32, 32), "images": 2, "answers": 2, "pictures": 1, "picture_size": (32, 32), "warmup": 2}


def logged(out):
    with open(out / "losses.csv", newline="") as file:
        return list(csv.reader(file))


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_a_killed_run_goes_on_exactly_where_it_was(scenes_folder, feed, tmp_path, student, monkeypatch):
    fed = feed(scenes_folder)
    whole = tune(student(1, **TINY), fed, tmp_path / "a", 5, save_every=2, workers=0)

    class Killed(Exception):
        pass

    made = student(1, **TINY)
    inner, seen = made.forward, []

    def dies(batch):
        seen.append(None)
        if len(seen) == 4:
            raise Killed
        return inner(batch)
    monkeypatch.setattr(made, "forward", dies)
    with pytest.raises(Killed):
        tune(made, fed, tmp_path / "b", 5, save_every=2, workers=0)
    assert [row[0] for row in logged(tmp_path / "b")] == ["0", "1", "2"]  # one more than the checkpoint has
    resumed = tune(student(9, **TINY), fed, tmp_path / "b", 5, save_every=2, workers=0)
    assert logged(tmp_path / "a") == logged(tmp_path / "b") and len(logged(tmp_path / "a")) == 5
    assert same(whole.state_dict(), resumed.state_dict())


def test_batches_made_beside_the_training_are_the_same(scenes_folder, feed, tmp_path, student):
    fed = feed(scenes_folder)
    for workers in (0, 2):
        tune(student(1, **TINY), fed, tmp_path / str(workers), 5, workers=workers)
    assert len(logged(tmp_path / "0")) == 5 and logged(tmp_path / "0") == logged(tmp_path / "2")


@pytest.mark.parametrize(("device", "cores", "processes", "expected"), [
    ("cpu", 16, None, 1), ("cuda", 16, None, 15), ("cuda", 64, "8", 7), ("cuda", 224, "8", 16), ("cuda", 2, "2", 1),
])
def test_a_gpu_is_fed_by_all_cores_there_are_for_it(monkeypatch, device, cores, processes, expected):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    if processes:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    else:
        monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert batch_workers(torch.device(device)) == expected


def test_flow_matching_can_be_trained_and_paints_in_several_steps(scenes_folder, feed, tmp_path, student):
    made = student(1, **TINY | {"target": "flow"})
    tune(made, feed(scenes_folder), tmp_path, 2, workers=0)
    assert load_generator(tmp_path / "model", "cpu").capabilities.steps == 4


@pytest.mark.parametrize("breaks", ["write", "disk"])
def test_a_checkpoint_that_is_not_finished_leaves_the_last(scenes_folder, feed, tmp_path, student, monkeypatch, breaks):
    tune(student(0, **TINY), feed(scenes_folder), tmp_path, 2, save_every=2, workers=0)
    error = {"write": KeyboardInterrupt, "disk": OSError(28, "No space left on device")}[breaks]

    def dies(state, path):
        path.write_bytes(b"half of it")
        raise error
    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises((KeyboardInterrupt, OSError)):
        tune(student(0, **TINY), feed(scenes_folder), tmp_path, 4, save_every=2, workers=0)
    assert checkpoint.read(tmp_path / "checkpoint.pt")["step"] == 2


def test_a_broken_checkpoint_is_named(scenes_folder, feed, tmp_path, student):
    for content in (b"", b"no pickle", b"PK\x03\x04"):
        (tmp_path / "checkpoint.pt").write_bytes(content)
        with pytest.raises(InputError, match="checkpoint.pt.*is no checkpoint"):
            tune(student(0, **TINY), feed(scenes_folder), tmp_path, 2, workers=0)


def test_a_checkpoint_of_another_model_is_named(scenes_folder, feed, tmp_path, student):
    made = student(0, **TINY)
    made.probe.requires_grad_(False)
    tune(made, feed(scenes_folder), tmp_path, 1, workers=0)
    with pytest.raises(InputError, match="checkpoint.pt' is of another model or recipe than this run"):
        tune(student(0, **TINY), feed(scenes_folder), tmp_path, 2, workers=0)


def test_a_broken_scene_is_left_out_counted_and_named(scenes_folder, feed, tmp_path, student, capfd):
    fed = feed(scenes_folder)
    (scenes_folder / "0000001_0.npz").write_bytes(b"broken")
    tune(student(0, **TINY), fed, tmp_path / "out", 3, workers=0)
    said = capfd.readouterr().out
    assert said.count("left out (1)") == 1 and "0000001_0.npz" in said.replace("\n", "")
    assert len(logged(tmp_path / "out")) == 3


def test_nothing_but_broken_scenes_ends_the_run(scenes_folder, feed, tmp_path, student):
    fed = feed(scenes_folder)
    for path in scenes_folder.iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(InputError, match="20 records in a row cannot be read, such as: scene .*npz"):
        tune(student(0, **TINY), fed, tmp_path / "out", 3, workers=0)


def test_the_best_model_by_held_out_score_is_kept_with_its_card(scenes_folder, feed, tmp_path, student, monkeypatch):
    """Scores rise, then fall: the model of the peak stays, and samples of every check are there."""
    peak = iter([0.3, 0.5, 0.4])
    monkeypatch.setattr(tuner, "score_of", lambda scores: next(peak))
    tune(student(0, **TINY), feed(scenes_folder, held=scenes_folder), tmp_path, 6, check_every=2, workers=0)
    state = checkpoint.read(tmp_path / "checkpoint.pt")
    assert state["best"] == (4, 0.5) and state["step"] == 6
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == [f"step_000000{i}.png" for i in (2, 4, 6)]
    sheet = cv2.imread(str(tmp_path / "samples" / "step_0000006.png"))
    assert sheet.shape[1] == 3 * 64 and sheet.std() > 10
    card = (tmp_path / "model" / "README.md").read_text()
    assert "4 batches of 2 images" in card and "Of held-out scenes" in card and "- depth: delta1" in card
    assert "- scenes: 6 records, 100% of the images" in card
    about = json.loads((tmp_path / "model" / "vbanana.json").read_text())["about"]
    assert about.startswith("All weights of nano, tuned on 8 images at 32x32")


def test_curves_are_written(scenes_folder, feed, tmp_path, student):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tune(student(0, **TINY), feed(scenes_folder, held=scenes_folder), tmp_path, 3, workers=0)
    events = EventAccumulator(str(tmp_path / "curves"))
    events.Reload()
    tags = events.Tags()
    assert [e.step for e in events.Scalars("loss/rgb")] == [0, 1, 2]
    assert "held out/depth/delta1" in tags["scalars"] and "held out" in tags["images"]


PROCESS = """
import sys
from pathlib import Path
import torch
from conftest import tiny_nano
from vbanana_ros.tuning.mixture import Mixture
from vbanana_ros.tuning.scenes import open_scenes
from vbanana_ros.tuning.tuner import tune
torch.set_num_threads(1)
data, out = Path(sys.argv[1]), Path(sys.argv[2])
student = tiny_nano(int(sys.argv[3]), size=(32, 32), images=2, answers=2, pictures=1, picture_size=(32, 32),
                    warmup=2)
mixture = Mixture([(open_scenes(data), 1.0)])
trained = tune(student, mixture, out, 3, save_every=2, workers=0)
torch.save(trained.state_dict(), out / f"{sys.argv[3]}.pt")
"""


@pytest.fixture
def port():
    """One that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_accelerate_starts_as_many_processes_as_the_readme_says(scenes_folder, tmp_path, port):
    (tmp_path / "mixture.yaml").write_text(f"sets: [{{set: scenes, folder: {scenes_folder}}}]")
    launch = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", port]
    tune = ["vbanana_ros.cli", "tune", "--start", "nano", "--size", "32x32", "--images", "1", "--steps", "1"]
    subprocess.run([sys.executable, "-m", *launch, "-m", *tune, "--out", "out", "--mixture", "mixture.yaml"],
                   cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, timeout=240)
    assert "tuned on 2 images at 32x32" in (tmp_path / "out" / "model" / "README.md").read_text()


def test_two_processes_share_the_work(scenes_folder, tmp_path, port):
    """Other batches in each, the same weights in both, written by the first."""
    env = os.environ | {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
                        "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    processes = [subprocess.Popen([sys.executable, "-c", PROCESS, str(scenes_folder), str(tmp_path / "out"), str(rank)],
                                  env=env | {"RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(2)]
    assert [p.wait(timeout=240) for p in processes] == [0, 0]
    first, second = (torch.load(tmp_path / "out" / f"{rank}.pt") for rank in range(2))
    assert same(first, second)  # though each began with other weights
    assert [row[0] for row in logged(tmp_path / "out")] == ["0", "1", "2"]
    assert checkpoint.read(tmp_path / "out" / "checkpoint.pt")["step"] == 3


def test_one_scene_can_be_learnt(scenes_folder, feed, tmp_path, student):
    made = student(0, **TINY | {"pictures": 0, "rate": 5e-3, "warmup": 5})
    tune(made, feed(scenes_folder, depth=1.0, normals=1.0), tmp_path / "out", 80, workers=0)
    rgb = [float(row[1].removeprefix("rgb=")) for row in logged(tmp_path / "out")]
    assert np.mean(rgb[-5:]) < 0.5 * np.mean(rgb[:5])


def test_a_model_is_tuned_at_the_sizes_that_it_paints(student, tmp_path):
    assert own_sizes(None) == {}
    assert own_sizes("nano") == {"size": (224, 288), "picture_size": (64, 96)}
    student(0, size=(480, 640), picture_size=(96, 128)).export(tmp_path / "model", "tiny", "tiny")
    assert own_sizes(str(tmp_path / "model")) == {"size": (480, 640), "picture_size": (96, 128)}
    profile = json.loads((tmp_path / "model" / FILE).read_text())
    (tmp_path / "model" / FILE).write_text(json.dumps(profile | {"area": 1024 * 1024, "picture_area": 0}))
    assert own_sizes(str(tmp_path / "model")) == {"size": (896, 1152)}
    with pytest.raises(ModelError, match="no model directory .*gone"):
        own_sizes(str(tmp_path / "gone"))


def test_tune_model_refuses_what_it_must_not_touch(tmp_path):
    small = Recipe(size=(32, 32), images=1)
    with pytest.raises(InputError, match="held-out seeds"):
        tune_model(tmp_path, small, 1, tmp_path, scenes=HELD_OUT + 1)
    with pytest.raises(ModelError, match="no model directory .*gone"):
        tune_model(tmp_path, small, 1, tmp_path, scenes=1, start=str(tmp_path / "gone"))
    with pytest.raises(InputError, match="cannot train at 40x32: nano paints multiples of 32 pixels"):
        tune_model(tmp_path, Recipe(size=(32, 40)), 1, tmp_path, scenes=1)
    with pytest.raises(InputError, match="cannot train at 32x40: nano paints multiples of 32 pixels"):
        tune_model(tmp_path, Recipe(size=(32, 32), picture_size=(40, 32)), 1, tmp_path, scenes=1)
