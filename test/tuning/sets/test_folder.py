"""People's own folders: every part, every form, and what can be wrong with each."""

import json

import numpy as np
import pytest
from PIL import Image

from vbanana_ros.errors import InputError
from vbanana_ros.results import UNLABELED_8, NormalMap
from vbanana_ros.tasks import make_request
from vbanana_ros.tasks.normals import Normals
from vbanana_ros.tuning.sets import open_set

H, W = 6, 8


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array) if path.suffix == ".npy" else Image.fromarray(array).save(path)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def row(*values, dtype=np.uint8):
    """The values at the start of the first row, zeros elsewhere."""
    array = np.zeros((H, W), dtype)
    array[0, :len(values)] = values
    return array


def facing():
    """Normals toward the camera, unit."""
    normals = np.zeros((H, W, 3), np.float32)
    normals[..., 2] = -1
    normals[0, 0] = (0.6, 0, -0.8)
    return normals


@pytest.fixture
def root(tmp_path):
    """One picture of which everything is known, one of which nothing is."""
    for name in ("a.jpg", "b.png"):
        save(tmp_path / "images" / name, np.full((H, W, 3), 90, np.uint8))
    save(tmp_path / "depth/a.png", row(0, 1500, 65535, dtype=np.uint16))
    save(tmp_path / "normals/a.npy", facing() * 2)
    save(tmp_path / "labels/a.png", row(0, 1, 255))
    write(tmp_path / "labels.txt", "floor\ncoffee cup\n")
    save(tmp_path / "instances/a.png", row(0, 7, 300, 65535, dtype=np.uint16))
    write(tmp_path / "instances.json", {"7": "cup", "300": "cup", "9": "box"})
    save(tmp_path / "expressions/a_0.png", row(0, 255))
    write(tmp_path / "expressions/a.json", [{"text": "the red cup", "mask": "a_0.png"}])
    write(tmp_path / "K.txt", "500 0 4\n0 500 3\n0 0 1\n")
    return tmp_path


def check_wrong(root, named, split="all"):
    with pytest.raises(InputError) as error:
        open_set("folder", root, split)[0]
    assert named in str(error.value)
    return str(error.value)


def test_everything_is_read(root):
    record = open_set("folder", root, "all")[0]
    assert np.isnan(record.depth[0, 0]) and record.depth[0, 1:3].tolist() == [1.5, np.float32(65.535)]
    assert record.normals[0, 0] == pytest.approx((0.6, 0, -0.8)) and record.normals.dtype == np.float32
    assert record.labels[0, :3].tolist() == [0, 1, UNLABELED_8] and record.names == ("floor", "coffee cup")
    assert [(t.name, np.argwhere(t.mask).tolist()) for t in record.things] == [("cup", [[0, 1]]), ("cup", [[0, 2]])]
    assert record.thing_names == ("box", "cup")
    assert record.expressions[0].text == "the red cup" and np.argwhere(record.expressions[0].mask).tolist() == [[0, 1]]
    assert record.K.tolist() == [[500, 0, 4], [0, 500, 3], [0, 0, 1]]


def test_parts_may_be_missing(root):
    record = open_set("folder", root, "all")[1]
    assert record.name == "b" and record.depth is record.normals is record.labels is record.things is None
    assert record.expressions == record.names == record.thing_names == ()


def test_depth_alone_is_enough(tmp_path):
    save(tmp_path / "images/a.png", np.zeros((H, W, 3), np.uint8))
    save(tmp_path / "depth/a.png", row(0, 1500, dtype=np.uint16))
    record, = open_set("folder", tmp_path, "all")
    assert record.depth[0, 1] == 1.5 and record.labels is record.things is None and record.names == ()


def test_a_picture_with_nothing_in_it_has_no_things(root):
    save(root / "instances/b.png", row(0))
    record = open_set("folder", root, "all")[1]
    assert record.things == () and record.thing_names == ("box", "cup")


def test_the_other_forms(root):
    save(root / "depth/b.npy", row(2.5, np.nan, np.inf, -1, dtype=np.float64))
    painted = Normals().encode(NormalMap(facing(), np.ones((H, W), np.float32)), make_request("normals"))
    painted[0, 1] = 0.5  # gray is no normal
    save(root / "normals/b.png", np.round(painted * 255).astype(np.uint8))
    save(root / "instances/b.png", row(7))
    write(root / "instances.json", {"a": {"7": "cup", "300": "cup"}, "b": {"7": "box"}})
    records = open_set("folder", root, "all")
    b = records[1]
    assert b.depth[0, 0] == 2.5 and np.isnan(b.depth[0, [1, 3]]).all() and np.isinf(b.depth[0, 2])
    assert b.normals[0, 0] == pytest.approx((0.6, 0, -0.8), abs=0.01) and np.isnan(b.normals[0, 1]).all()
    assert [t.name for t in b.things] == ["box"] and [t.name for t in records[0].things] == ["cup", "cup"]
    assert b.thing_names == ("box", "cup")


def test_a_picture_may_be_called_as_an_object(root):
    save(root / "images/7.png", np.full((H, W, 3), 90, np.uint8))
    save(root / "instances/7.png", row(9))
    assert [t.name for t in open_set("folder", root, "all")[0].things] == ["box"]


def test_subfolders_are_splits(root, tmp_path_factory):
    top = tmp_path_factory.mktemp("top")
    root.rename(top / "mine")
    assert len(open_set("folder", top, "mine")) == 2
    assert "choose one of mine" in check_wrong(top, "'val'", "val")


@pytest.mark.parametrize(("part", "array", "named"), [
    ("depth/a.png", row(9), "a.png"), ("depth/a.png", row(0, dtype=np.uint16), "a: no pixel"),
    ("depth/a.png", np.ones((H, W + 1), np.uint16), "9x6"), ("normals/a.npy", -facing(), "away from the camera"),
    ("normals/a.npy", np.zeros((H, W), np.float32), "a.npy"), ("normals/a.npy", facing().astype(int), "a.npy"),
    ("labels/a.png", row(2), "beyond the 2 classes"), ("labels/a.png", row(300, dtype=np.uint16), "a.png"),
    ("labels/a.png", np.zeros((H, W, 3), np.uint8), "a.png"), ("instances/a.png", row(8), "object 8")])
def test_pictures_that_are_wrong(root, part, array, named):
    save(root / part, array)
    check_wrong(root, named)


@pytest.mark.parametrize(("part", "text", "named"), [
    ("labels.txt", "", "labels.txt"), ("labels.txt", "floor\n\ncup", "labels.txt"),
    ("instances.json", "[]", "instances.json"), ("instances.json", "{", "instances.json"), ("K.txt", "1 2 3", "K.txt"),
    ("expressions/a.json", "[{}]", "a.json"),
    ("expressions/a.json", '[{"text": "x", "mask": "none.png"}]', "none.png"), ("depth/a.png", "x", "a.png")])
def test_files_that_are_wrong(root, part, text, named):
    write(root / part, text)
    check_wrong(root, named)


def test_folders_that_are_wrong(root, tmp_path_factory):
    save(root / "images/a.png", np.full((H, W, 3), 90, np.uint8))
    check_wrong(root, "share a stem")
    empty = tmp_path_factory.mktemp("empty")
    assert "put pictures" in check_wrong(empty, "images")
    (empty / "images").mkdir()
    check_wrong(empty, "no picture")
    save(empty / "images/a.png", np.full((H, W, 3), 90, np.uint8))
    check_wrong(empty, "depth")
