"""`vbanana`: what it writes, and one line and exit code 2 for everything that the user can mend."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import vbanana_ros
from vbanana_ros.bags import find_topics
from vbanana_ros.cli import main
from vbanana_ros.generators import load
from vbanana_ros.generators.nano import NanoGenerator

BAG = Path(vbanana_ros.__file__).parent / "demo" / "bag"
QUICK = ["--every", "100"]  # the bag's first frame alone


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "room.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))
    return path


@pytest.fixture
def vbanana(capfd):
    """Runs a command in this process; returns its exit code, standard output and standard error."""
    def run(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as done:
            code = done.code
        return code, *capfd.readouterr()
    return run


@pytest.fixture
def refused(vbanana, tmp_path):
    """Runs a command that must fail as a user's mistake, and leave nothing behind; returns what it said."""
    def run(*words):
        before = sorted(tmp_path.rglob("*"))
        code, out, err = vbanana(*words)
        assert code == 2 and out == ""
        assert err.startswith("vbanana: ") and err.count("\n") == 1 and err.endswith("\n"), err
        assert sorted(tmp_path.rglob("*")) == before
        return err
    return run


def test_help_needs_no_torch():
    """Measured as the least of three, so that a busy machine does not decide."""
    code = "import sys; from vbanana_ros.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n" \
           "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0 and "COMMAND" in done.stdout and done.stderr == ""
    assert min(seconds) < 0.5


@pytest.mark.parametrize("command", ["run", "bag", "demo", "tune", "evaluate", "bench", "models"])
def test_every_command_has_help(vbanana, command):
    code, out, err = vbanana(command, "--help")
    assert code == 0 and command in out and err == ""


def test_run_writes_pngs_results_and_a_report(vbanana, image, nano_folder, tmp_path):
    out = tmp_path / "out"
    code, said, err = vbanana("run", image, "-o", out, "--model", nano_folder, "--device", "cpu", "--stride", 2)
    assert (code, err) == (0, "") and str(out / "report.html") in said and "room.png" in said
    assert np.load(out / "room_depth.npy").shape == np.load(out / "room_semantic.npy").shape == (48, 64)
    for name in ("report.html", "room_depth.png", "room_normals.npy", "room_instance.npy", "room_referring.png",
                 "room_cloud.ply"):
        assert (out / name).stat().st_size > 0
    assert not list(out.rglob("*.part"))


@pytest.mark.parametrize(("flags", "focal"), [([], np.nan), (["--fov", "90"], 32.0)])
def test_the_model_is_told_a_camera_that_is_known_and_not_one_that_is_guessed(
        vbanana, image, nano_folder, tmp_path, monkeypatch, flags, focal):
    """The cloud has one either way, of 60 degrees where none is named."""
    told, encode = [], NanoGenerator.encode_image
    monkeypatch.setattr(NanoGenerator, "encode_image", lambda self, rgb, K: told.append(K) or encode(self, rgb, K))
    code, _, err = vbanana("run", image, "-o", tmp_path, "--model", nano_folder, "--tasks", "depth", *flags)
    assert (code, err) == (0, "") and (tmp_path / "room_cloud.ply").stat().st_size > 0
    assert np.allclose([k[0, 0] for k in told], [focal], equal_nan=True)


def test_run_tells_pictures_of_one_name_apart(vbanana, image, nano_folder, tmp_path):
    (tmp_path / "b").mkdir()
    shutil.copy(image, tmp_path / "b" / "room.png")
    code, _, err = vbanana("run", image, tmp_path / "b" / "room.png", "-o", tmp_path / "out", "--model", nano_folder,
                           "--tasks", "depth")
    assert (code, err) == (0, "")
    assert {p.name for p in (tmp_path / "out").glob("*.npy")} == {"room_depth.npy", "room_2_depth.npy"}


def test_flags_win_over_the_file(vbanana, image, nano_folder, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text("/**: {ros__parameters: {tasks: [depth], semantic: {classes: [mug, box], colors: [red, blue]}}}")
    code, _, err = vbanana("run", image, "-o", tmp_path / "out", "--params-file", params, "--model", nano_folder,
                           "--tasks", "semantic", "--classes", "cat", "--steps", "2")
    assert (code, err) == (0, "")
    assert {p.name for p in (tmp_path / "out").glob("*.npy")} == {"room_semantic.npy"}


def test_bag_writes_a_bag(vbanana, nano_folder, tmp_path):
    target = tmp_path / "out"
    code, out, err = vbanana("bag", BAG, target, "--model", nano_folder, "--tasks", "depth", *QUICK)
    assert (code, err) == (0, "") and "1 frames, 0 failed" in out and str(target) in out
    assert "/vbanana/depth/color" in find_topics(target).others
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_demo_replaces_its_own_bag_and_nothing_else(vbanana, nano_folder, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    (tmp_path / "perception_bag").mkdir()
    code, out, err = vbanana("demo", "-o", tmp_path, "--model", nano_folder, "--tasks", "depth", *QUICK)
    assert (code, err) == (0, "") and out.rstrip().endswith(str(tmp_path / "report.html"))
    assert (tmp_path / "thesis.txt").read_text() == "mine"
    assert (tmp_path / "perception_bag" / "metadata.yaml").exists()
    assert (tmp_path / "report.html").exists() and list(tmp_path.rglob("frame_0000_depth.png"))


def test_demo_that_cannot_run_leaves_the_old_results(vbanana, tmp_path):
    (tmp_path / "perception_bag").mkdir()
    assert vbanana("demo", "-o", tmp_path, "--model", tmp_path / "gone")[0] == 2
    assert (tmp_path / "perception_bag").exists()


def test_models_lists_what_is_shipped(vbanana, nano_folder, monkeypatch, tmp_path):
    monkeypatch.setattr(load, "SHIPPED", nano_folder.parent)
    code, out, err = vbanana("models")
    assert (code, err) == (0, "") and "tiny   Apache-2.0" in out and str(nano_folder) in out
    monkeypatch.setattr(load, "SHIPPED", tmp_path / "gone")
    code, out, err = vbanana("models")
    assert (code, err) == (0, "") and "no model came with this installation" in out and "vbanana tune" in out


@pytest.mark.parametrize(("name", "content"), [
    ("gone.png", None), ("empty.png", b""), ("text.png", b"hello"), ("folder.png", "folder"), ("cut.png", 0.5),
    ("cut.jpg", 0.7),
])
def test_bad_images(refused, image, nano_folder, tmp_path, name, content):
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif isinstance(content, float):
        data = cv2.imencode(path.suffix, cv2.imread(str(image)))[1].tobytes()
        path.write_bytes(data[:int(content * len(data))])
    elif content is not None:
        path.write_bytes(content)
    assert name in refused("run", image, path, "-o", tmp_path / "out", "--model", nano_folder)


@pytest.mark.parametrize(("flags", "said"), [
    (["--tasks", "dept"], "unknown task 'dept'"),
    (["--classes", "mug", "--colors", "redd"], "unknown colour 'redd': did you mean 'red'"),
    (["--classes", "mug", "box", "--colors", "red", "#fe0000"], "too near to tell apart"),
    (["--classes", "mug", "box", "--colors", "red"], "2 labels but 1 colours"),
    (["--tasks", "picture"], "needs a text"), (["--seed", "-1"], "seed must be 0 or more"),
    (["--params-file", "gone.yaml"], "no parameter file 'gone.yaml'"),
    (["--model", "gone"], "no model directory 'gone'"), (["--colour", "red"], "--colour"),
    (["--device", "gpu"], "unknown device 'gpu'"), (["--camera", "gone.yaml"], "gone.yaml"),
    (["--fov", "180"], "not an angle"), (["--stride", "0"], "not a whole number above 0"),
])
def test_bad_flags(refused, image, nano_folder, tmp_path, flags, said):
    assert said in refused("run", image, "-o", tmp_path / "out", "--model", nano_folder, *flags)


@pytest.mark.parametrize("text", ["", "[", "/**: {ros__parameters: {sead: 3}}", "/**: {ros__parameters: {seed: x}}"])
def test_bad_parameter_files(refused, image, nano_folder, tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    assert "params.yaml" in refused("run", image, "-o", tmp_path / "out", "--model", nano_folder, "--params-file", path)


def test_a_corrupt_model(refused, image, nano_folder, tmp_path):
    folder = shutil.copytree(nano_folder, tmp_path / "model")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "is corrupt" in refused("run", image, "-o", tmp_path / "out", "--model", folder)
    (folder / "vbanana.json").unlink()
    assert "has no vbanana.json" in refused("run", image, "-o", tmp_path / "out", "--model", folder)


def test_an_output_folder_that_is_a_file(refused, image, nano_folder):
    assert "room.png" in refused("run", image, "-o", image, "--model", nano_folder)


def test_bad_bags(refused, nano_folder, tmp_path):
    model = ["--model", nano_folder]
    target = tmp_path / "target"
    target.mkdir()
    assert "target exists" in refused("bag", BAG, target, *model)
    out = tmp_path / "out"
    assert "no bag at" in refused("bag", tmp_path / "gone", out, *model)
    (tmp_path / "broken.mcap").write_bytes(b"no bag")
    assert "broken.mcap" in refused("bag", tmp_path / "broken.mcap", out, *model)
    assert "/nothing" in refused("bag", BAG, out, *model, "--image-topic", "/nothing")
    assert "could be used" in refused("bag", BAG, out, *model, "--start", "9999", *QUICK)


def test_tune_and_evaluate_say_what_is_wrong(refused, tmp_path):
    assert "held-out" in refused("tune", "--out", tmp_path / "out", "--scenes", "2000000")
    assert "no model directory" in refused("tune", "--out", tmp_path / "out", "--start", tmp_path / "gone")
    assert "HxW" in refused("tune", "--out", tmp_path / "out", "--size", "100x100")
    assert "no model directory" in refused("evaluate", "--model", tmp_path / "gone")
    assert "no suite 'simm'; choose from sim, real, all" in refused("evaluate", "--suite", "simm")
    assert "name its folder with --data" in refused("evaluate", "--suite", "voc")
    assert "no folder" in refused("evaluate", "--suite", "voc", "--data", tmp_path / "gone")
    assert "not a whole number above 0" in refused("evaluate", "--votes", "0")


@pytest.fixture
def relative_folder(nano_folder, tmp_path):
    """A model that paints inverse depth in grey, and words two prompts its own way."""
    folder = shutil.copytree(nano_folder, tmp_path / "relative")
    profile = json.loads((folder / "vbanana.json").read_text())
    changes = {"depth_code": "inverse-gray", "prompts": {"depth": "Near is bright.", "picture": "Paint {text}."}}
    (folder / "vbanana.json").write_text(json.dumps(profile | changes))
    return folder


def test_a_relative_model_says_so_and_gives_no_metres(vbanana, image, relative_folder, tmp_path):
    words = ("--model", relative_folder, "--device", "cpu")
    code, said, _ = vbanana("run", image, *words, "--tasks", "depth", "-o", tmp_path / "run")
    assert code == 0 and "paints relative depth" in said
    assert "Near is bright." in (tmp_path / "run" / "report.html").read_text()
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert "room_depth_relative.npy" in names and not {"room_depth.npy", "room_cloud.ply"} & names
    code, said, _ = vbanana("bag", BAG, tmp_path / "bag", *words, "--tasks", "depth", *QUICK)
    assert code == 0 and "1 frames, 0 failed, 1 without a cloud" in said and "is on depth/relative" in said
    code, _, said = vbanana("evaluate", "--suite", "steady", *words)
    assert code == 2 and "relative depth, which is not smoothed" in said
    assert vbanana("run", *words, "--picture", "a mug", "-o", tmp_path / "paint")[0] == 0


def test_votes_and_smoothing_by_flag(vbanana, refused, nano_folder, tmp_path):
    words = ("--model", nano_folder, "--device", "cpu", *QUICK)
    code, said, _ = vbanana("bag", BAG, tmp_path / "bag", *words, "--votes", "3", "--smoothing", "0.5")
    assert code == 0 and "1 frames, 0 failed" in said
    assert "depth.smoothing must be 0 or more" in refused("bag", BAG, tmp_path / "out", *words, "--smoothing", "-1")
    assert "votes must be 1 to 64" in refused("bag", BAG, tmp_path / "out", *words, "--votes", "65")


def test_evaluate_on_a_public_set(vbanana, nano_folder, tmp_path):
    """The second time every frame is known already; another model's figures do not go beside these."""
    (tmp_path / "voc").mkdir()
    labels = np.zeros((48, 64), np.uint8)
    labels[8:40, 8:40] = 15
    for name, array in (("a.jpg", np.full((48, 64, 3), 90, np.uint8)), ("a_class.png", labels),
                        ("a_object.png", labels // 15), ("b_class.png", labels), ("b_object.png", labels)):
        cv2.imwrite(str(tmp_path / "voc" / name), array)
    out = tmp_path / "out"
    words = ("evaluate", "--suite", "voc", "--data", tmp_path / "voc", "--model", nano_folder, "--device", "cpu",
             "--votes", "2", "--batch", "2", "--out", out, "--json", out / "a.json", "--html", out / "a.html")
    code, first, err = vbanana(*words)
    assert code == 0 and "| voc (1, 1 skipped) | semantic" in first and "b.jpg" in err
    written = (out / "a.json").read_bytes()
    assert vbanana(*words)[:2] == (0, first) and (out / "a.json").read_bytes() == written
    assert (out / "a.html").stat().st_size > 10_000
    code, _, err = vbanana(*words, "--split", "train")
    assert code == 2 and "whose split is 'val', not 'train'" in err


def test_no_command_and_wrong_commands(refused):
    assert "COMMAND" in refused()
    assert "invalid choice" in refused("walk")


def test_the_live_node_is_not_measured_without_ros(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "rclpy", None)
    assert "needs a sourced ROS 2" in refused("bench", "--ros")


@pytest.mark.parametrize(("error", "code", "said"), [
    (KeyboardInterrupt(), 130, "interrupted"), (ModuleNotFoundError("no", name="open3d"), 2, "'open3d'; pip install"),
    (ImportError("libusb-1.0.so.0: cannot open"), 2, "cannot be loaded: libusb-1.0.so.0"),
    (OSError(28, "No space left on device", "out.npy"), 2, "out.npy: No space left on device"),
])
def test_what_a_run_can_meet_on_its_way_is_one_line(vbanana, monkeypatch, error, code, said):
    def fails(*_):
        raise error
    monkeypatch.setattr("vbanana_ros.generators.load.shipped", fails)
    got, _, err = vbanana("models")
    assert got == code and said in err and err.count("\n") == 1
