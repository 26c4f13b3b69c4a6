"""Readers of segmentation and referring sets: tiny trees of the real layouts, and the published samples."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vbanana_ros.errors import InputError
from vbanana_ros.results import UNLABELED_8
from vbanana_ros.tuning import sets
from vbanana_ros.tuning.sets import SETS, open_set
from vbanana_ros.tuning.sets.ade20k import NAMES as ADE_NAMES

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
H, W = 6, 8


def save(path, array=None, mode=None):
    """An array as a picture; without one a dull photo of H x W."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.full((H, W, 3), 90, np.uint8) if array is None else array)
    if mode == "P":  # as VOC's: a palette over the numbers
        picture.putpalette([i * 7 % 256 for i in range(768)])
    picture.save(path)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def grid(rows, dtype=np.uint8):
    """A few numbers in the upper left of zeros, H x W."""
    array = np.zeros((H, W), dtype)
    rows = np.array(rows)
    array[:rows.shape[0], :rows.shape[1]] = rows
    return array


def said(record, y, x):
    """The name at a pixel, None where nothing is said."""
    label = record.labels[y, x]
    return None if label == UNLABELED_8 else record.names[label]


def check_wrong(name, root, named, split="val"):
    """Opening the set and reading its first record fails, and the error names the thing."""
    with pytest.raises(InputError) as error:
        open_set(name, root, split)[0]
    assert named in str(error.value) and "\n" not in str(error.value)
    return str(error.value)


def cut(path):
    """The file with its second half lost."""
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


# COCO

CATEGORIES = [{"id": 1, "name": "person", "isthing": 1}, {"id": 18, "name": "dog", "isthing": 1},
              {"id": 187, "name": "sky-other-merged", "isthing": 0}, {"id": 171, "name": "wall-brick", "isthing": 0}]


def coco_image(stem="000000000139"):
    return {"id": int(stem), "file_name": f"{stem}.jpg", "height": H, "width": W}


@pytest.fixture
def panoptic(tmp_path):
    """Person 3, a crowd of dogs 300 = 44 + 256, sky 70000 = 112 + 17 * 256 + 65536, brick 9, void."""
    ids = grid([[3, 3, 300, 300, 70000, 9]], np.int32)
    save(tmp_path / "panoptic_val2017/000000000139.png",
         np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8))
    save(tmp_path / "val2017/000000000139.jpg")
    segments = [{"id": 3, "category_id": 1, "iscrowd": 0}, {"id": 300, "category_id": 18, "iscrowd": 1},
                {"id": 70000, "category_id": 187, "iscrowd": 0}, {"id": 9, "category_id": 171, "iscrowd": 0}]
    write(tmp_path / "annotations/panoptic_val2017.json", {
        "images": [coco_image()], "categories": CATEGORIES,
        "annotations": [{"image_id": 139, "file_name": "000000000139.png", "segments_info": segments}]})
    return tmp_path


def test_coco_panoptic(panoptic):
    records = open_set("coco_panoptic", panoptic, "val")
    record = records[0]
    assert (records.name, len(records), record.name) == ("coco_panoptic", 1, "000000000139")
    assert [said(record, 0, x) for x in (0, 2, 4, 5, 6)] == ["person", "dog", "sky", "brick wall", None]
    assert [(t.name, t.crowd, np.argwhere(t.mask).tolist()) for t in record.things] == [
        ("person", False, [[0, 0], [0, 1]]), ("dog", True, [[0, 2], [0, 3]])]
    assert record.thing_names == ("person", "dog")


def test_coco_panoptic_of_the_other_usual_folders(panoptic):
    (panoptic / "images").mkdir()
    (panoptic / "val2017").rename(panoptic / "images/val2017")
    (panoptic / "panoptic_val2017").rename(panoptic / "annotations/panoptic_val2017")
    assert said(open_set("coco_panoptic", panoptic, "val")[0], 0, 4) == "sky"


def test_coco_panoptic_that_is_wrong(panoptic):
    assert "train, val" in check_wrong("coco_panoptic", panoptic, "'test'", "test")
    assert "cocodataset.org" in check_wrong("coco_panoptic", panoptic, "panoptic_train2017.json", "train")
    png = panoptic / "panoptic_val2017/000000000139.png"
    save(png, np.zeros((H, W, 3), np.uint8))
    check_wrong("coco_panoptic", panoptic, png.name)
    cut(png)
    check_wrong("coco_panoptic", panoptic, png.name)
    cut(panoptic / "annotations/panoptic_val2017.json")
    check_wrong("coco_panoptic", panoptic, "panoptic_val2017.json")


@pytest.fixture
def instances(tmp_path):
    """A square person, a crowd of dogs in runs, a sliver; and an image without anything."""
    notes = [{"category_id": 1, "iscrowd": 0, "segmentation": [[1, 1, 4, 1, 4, 4, 1, 4], [6, 4, 8, 4, 8, 6, 6, 6]]},
             {"category_id": 18, "iscrowd": 1, "segmentation": {"size": [H, W], "counts": [0, 2, H * W - 2]}},
             {"category_id": 18, "iscrowd": 0, "segmentation": [[1, 1, 2, 2]]}]
    for stem in ("000000000139", "000000000285"):
        save(tmp_path / f"val2017/{stem}.jpg")
    write(tmp_path / "annotations/instances_val2017.json", {
        "images": [coco_image(), coco_image("000000000285")],
        "categories": [{k: v for k, v in c.items() if k != "isthing"} for c in CATEGORIES[:2]],
        "annotations": [{"id": i, "image_id": 139, **note} for i, note in enumerate(notes)]})
    return tmp_path


def test_coco_instances(instances):
    records = open_set("coco_instances", instances, "val")
    person, dogs, sliver = records[0].things
    square = np.zeros((H, W), bool)
    square[1:4, 1:4] = square[4:6, 6:8] = True
    assert (person.name, person.crowd) == ("person", False) and (person.mask == square).all()
    assert (dogs.name, dogs.crowd) == ("dog", True) and np.argwhere(dogs.mask).tolist() == [[0, 0], [1, 0]]
    assert sliver.mask.shape == (H, W) and not sliver.mask.any()
    assert records[0].thing_names == ("person", "dog") and records[0].labels is None
    assert len(records) == 2 and records[1].things == ()


@pytest.mark.parametrize("segmentation", [
    {"size": [H, W], "counts": [1, 2]}, {"size": [H, W], "counts": [-1, 1 + H * W]}, {"size": [H, W], "counts": "xyz"},
    {"size": [W, H], "counts": [H * W]}, [[0, 0, 1e300, 0, 3, 3]], [["a"] * 6], None])
def test_coco_masks_that_are_wrong(instances, segmentation):
    path = instances / "annotations/instances_val2017.json"
    notes = json.loads(path.read_text())
    notes["annotations"][0]["segmentation"] = segmentation
    write(path, notes)
    check_wrong("coco_instances", instances, "000000000139")


def test_coco_instances_that_are_wrong(instances):
    path = instances / "annotations/instances_val2017.json"
    save(instances / "val2017/000000000139.jpg", np.zeros((H, W + 1, 3), np.uint8))
    check_wrong("coco_instances", instances, "000000000139")
    notes = json.loads(path.read_text())
    notes["annotations"][0]["image_id"] = 1
    write(path, notes)
    check_wrong("coco_instances", instances, path.name)
    path.unlink()
    assert "unpack" in check_wrong("coco_instances", instances, path.name)


@pytest.mark.skipif(not (DATA / "coco_panopticapi").is_dir(), reason="no sample of COCO")
def test_the_sample_of_coco():
    panoptic, instances = (open_set(f"coco_{kind}", DATA / "coco_panopticapi", "val")
                           for kind in ("panoptic", "instances"))
    assert len(panoptic) == len(instances) == 2 and len(panoptic[0].names) == len(set(panoptic[0].names)) == 133
    assert len(panoptic[0].thing_names) == len(instances[0].thing_names) == 80
    assert not any("-" in name for name in panoptic[0].names)
    assert {panoptic[0].names[i] for i in np.unique(panoptic[0].labels) if i != UNLABELED_8} == {
        "person", "sports ball", "tree", "sky", "grass"}
    note = json.loads((DATA / "coco_panopticapi/panoptic_examples.json").read_text())["annotations"][0]
    assert note["image_id"] == int(panoptic[0].name)
    assert [t.mask.sum() for t in panoptic[0].things] == [
        s["area"] for s in note["segments_info"] if s["category_id"] <= 90]
    for record, other in zip(panoptic, instances, strict=True):  # the same segments, as colours and as runs
        assert (record.rgb == other.rgb).all()
        for a, b in zip(record.things, other.things, strict=True):
            assert a.name == b.name and a.crowd == b.crowd and (a.mask == b.mask).all()


# ADE20K

@pytest.fixture
def ade(tmp_path):
    save(tmp_path / "images/validation/ADE_val_00000001.jpg")
    save(tmp_path / "annotations/validation/ADE_val_00000001.png", grid([[1, 3, 9, 0, 150]]))
    return tmp_path


def test_ade20k(ade):
    record = open_set("ade20k", ade, "val")[0]
    assert [said(record, 0, x) for x in range(5)] == ["wall", "sky", "window", None, "flag"]
    assert record.things is None and record.name == "ADE_val_00000001"


def test_names_of_ade20k():
    assert len(ADE_NAMES) == len(set(ADE_NAMES)) == 150
    # objectInfo150.txt by line
    assert [ADE_NAMES[i - 1] for i in (13, 50, 83, 100, 126, 139)] == [
        "person", "fireplace", "light", "sideboard", "flowerpot", "trash can"]


def test_ade20k_that_is_wrong(ade):
    assert "train, val" in check_wrong("ade20k", ade, "validation", "validation")
    assert "ADEChallengeData2016" in check_wrong("ade20k", ade, "images/training", "train")
    png = ade / "annotations/validation/ADE_val_00000001.png"
    save(png, grid([[151]]))
    check_wrong("ade20k", ade, png.name)
    save(png)
    assert "colours" in check_wrong("ade20k", ade, png.name)
    cut(png)
    check_wrong("ade20k", ade, png.name)
    png.unlink()
    check_wrong("ade20k", ade, "annotations/validation")


# Cityscapes

@pytest.fixture
def cityscapes(tmp_path):
    """Road, a car, a group of cars, a trailer, a rider, out of the region of interest."""
    stem = "lindau/lindau_000000_000019"
    save(tmp_path / f"leftImg8bit/val/{stem}_leftImg8bit.png")
    save(tmp_path / f"gtFine/val/{stem}_gtFine_labelIds.png", grid([[7, 26, 26, 30, 25, 3]]))
    save(tmp_path / f"gtFine/val/{stem}_gtFine_instanceIds.png", grid([[7, 26000, 26, 30000, 25001, 3]], np.uint16))
    return tmp_path


def test_cityscapes(cityscapes):
    record = open_set("cityscapes", cityscapes, "val")[0]
    assert [said(record, 0, x) for x in range(7)] == ["road", "car", "car", None, "rider", None, None]
    assert len(record.names) == 19 and len(record.thing_names) == 8 and record.name == "lindau_000000_000019"
    assert [(t.name, t.crowd, np.argwhere(t.mask).tolist()) for t in record.things] == [
        ("car", True, [[0, 2]]), ("rider", False, [[0, 4]]), ("car", False, [[0, 1]])]


def test_cityscapes_that_is_wrong(cityscapes):
    assert "train, val" in check_wrong("cityscapes", cityscapes, "test", "test")
    assert "gtFine_trainvaltest.zip" in check_wrong("cityscapes", cityscapes, "leftImg8bit/train", "train")
    ids = next(cityscapes.rglob("*_instanceIds.png"))
    cut(ids)
    check_wrong("cityscapes", cityscapes, ids.name)
    ids.unlink()
    check_wrong("cityscapes", cityscapes, ids.name)


# VOC

@pytest.fixture
def voc(tmp_path):
    root = tmp_path / "VOCdevkit/VOC2012"
    write(root / "ImageSets/Segmentation/val.txt", "2007_000033\n")
    save(root / "JPEGImages/2007_000033.jpg")
    save(root / "SegmentationClass/2007_000033.png", grid([[1, 1, 255, 15, 0]]), "P")
    save(root / "SegmentationObject/2007_000033.png", grid([[1, 2, 255, 3, 0]]), "P")
    return root


@pytest.mark.parametrize("up", [0, 1, 2])
def test_voc(voc, up):
    record = open_set("voc", [voc, *voc.parents][up], "val")[0]
    assert [said(record, 0, x) for x in range(5)] == ["aeroplane", "aeroplane", None, "person", "background"]
    assert [(t.name, np.argwhere(t.mask).tolist()) for t in record.things] == [
        ("aeroplane", [[0, 0]]), ("aeroplane", [[0, 1]]), ("person", [[0, 3]])]
    assert len(record.names) == 21 and "background" not in record.thing_names


def test_voc_that_is_wrong(voc):
    assert "train, val, trainval" in check_wrong("voc", voc, "'test'", "test")
    assert "VOCtrainval" in check_wrong("voc", voc, "train.txt", "train")
    objects = voc / "SegmentationObject/2007_000033.png"
    save(objects, grid([[0, 0, 0, 0, 9]]), "P")
    assert "an object is of no class" in check_wrong("voc", voc, objects.name)
    save(objects, np.zeros((H, W + 1), np.uint8))
    check_wrong("voc", voc, objects.name)
    cut(objects)
    check_wrong("voc", voc, str(objects))
    save(voc / "SegmentationClass/2007_000033.png", grid([[21]]))
    save(objects, grid([[0]]))
    check_wrong("voc", voc, "2007_000033")


@pytest.mark.skipif(not (DATA / "voc_labelme").is_dir(), reason="no sample of VOC")
def test_the_sample_of_voc():
    records = open_set("voc", DATA / "voc_labelme", "val")
    assert len(records) == 3
    assert [t.name for t in records[0].things] == ["person", "person", "bottle"]
    assert [t.name for t in records[2].things] == ["bus", "bus", "car"]
    assert said(records[2], 0, 0) == "background" and (records[0].labels == UNLABELED_8).any()
    assert sum(t.mask.sum() for t in records[0].things) == (records[0].labels % UNLABELED_8 > 0).sum()


# RefCOCO

TREES = [("refcoco", "unc", "testA"), ("refcoco+", "unc", "val"), ("refcocog", "umd", "test")]


def make_refcoco(root, name="refcoco", by="unc", split="val"):
    """Two references on one image, of 2 and 1 sentences; and one of another split."""
    sentences = [[" The Left square ", "square"], ["strip"], ["train only"]]
    refs = [{"ref_id": i, "ann_id": 10 + min(i, 1), "image_id": 5, "category_id": 1,
             "split": "train" if i == 2 else split, "file_name": "COCO_train2014_000000000005_10.jpg",
             "sent_ids": [i], "sentences": [{"sent": s, "raw": s, "sent_id": i, "tokens": s.split()} for s in texts]}
            for i, texts in enumerate(sentences)]
    image = {"id": 5, "file_name": "COCO_train2014_000000000005.jpg", "height": H, "width": W}
    write(root / name / "instances.json", {
        "images": [image, image | {"id": 6}], "categories": [{"id": 1, "name": "person"}], "annotations": [
            {"id": 10, "image_id": 5, "category_id": 1, "iscrowd": 0, "segmentation": [[1, 1, 4, 1, 4, 4, 1, 4]]},
            {"id": 11, "image_id": 5, "category_id": 1, "iscrowd": 0,
             "segmentation": {"size": [H, W], "counts": [0, H, H * W - H]}}]})
    (root / name / f"refs({by}).p").write_bytes(pickle.dumps(refs, protocol=0))
    save(root / "images/mscoco/images/train2014/COCO_train2014_000000000005.jpg")
    return root / name


@pytest.mark.parametrize(("name", "by", "split"), TREES)
def test_refcoco(tmp_path, name, by, split):
    make_refcoco(tmp_path, name, by, split)
    records = open_set(name, tmp_path, split)
    left, square, strip = records[0].expressions
    assert (records.name, len(records), records[0].name) == (name, 1, "COCO_train2014_000000000005")
    assert [e.text for e in (left, square, strip)] == ["The Left square", "square", "strip"]
    assert left.mask is square.mask and left.mask.sum() == 9 and left.mask[1:4, 1:4].all()
    assert strip.mask[:, 0].all() and strip.mask.sum() == H
    assert [e.text for e in open_set(name, tmp_path, "train")[0].expressions] == ["train only"]


def test_a_pickle_of_python_2(tmp_path):
    """Protocol 0, with words as bytes and as unicode."""
    folder = make_refcoco(tmp_path)
    (folder / "refs(unc).p").write_bytes(
        b"(lp0\n(dp1\nS'ann_id'\np2\nI10\nsS'image_id'\np3\nI5\nsS'split'\np4\nS'val'\np5\nsS'sentences'\n"
        b"p6\n(lp7\n(dp8\nS'sent'\np9\nVcaf\\u00e9\np10\nsasa.")
    assert open_set("refcoco", tmp_path, "val")[0].expressions[0].text == "café"


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


def test_a_pickle_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = make_refcoco(tmp_path)
    (folder / "refs(unc).p").write_bytes(pickle.dumps([{"split": "val", "x": Evil()}]))
    assert "no plain data" in check_wrong("refcoco", tmp_path, "refs(unc).p")
    assert not (tmp_path / "evil").exists()


def test_refcoco_that_is_wrong(tmp_path):
    folder = make_refcoco(tmp_path)
    assert "train, val" in check_wrong("refcoco", tmp_path, "testA", "testA")
    assert "lichengunc/refer" in check_wrong("refcocog", tmp_path, "refcocog/refs(umd).p")
    (tmp_path / "images/mscoco/images/train2014/COCO_train2014_000000000005.jpg").unlink()
    check_wrong("refcoco", tmp_path, "COCO_train2014_000000000005.jpg")
    (tmp_path / "images").rename(tmp_path / "pictures")
    check_wrong("refcoco", tmp_path, "train2014")
    make_refcoco(tmp_path)
    cut(folder / "refs(unc).p")
    check_wrong("refcoco", tmp_path, "refs(unc).p")
    make_refcoco(tmp_path)
    write(folder / "instances.json", {"images": []})
    check_wrong("refcoco", tmp_path, "instances.json")


# ReasonSeg

@pytest.fixture
def reasonseg(tmp_path):
    """A target with a smaller region in it that is ignored, and a leftover."""
    def square(label, a, b):
        return {"label": label, "points": [[a, a], [b, a], [b, b], [a, b]]}

    for split in ("train", "val"):
        save(tmp_path / split / "1.jpg")
        write(tmp_path / split / "1.json", {
            "text": ["what would you sit on? ", "seat"], "is_sentence": True,
            "shapes": [square("ignore", 2, 3), square("target", 1, 5), square("flag", 0, 0)]})
    return tmp_path


def test_reasonseg(reasonseg):
    (expression,) = open_set("reasonseg", reasonseg, "val")[0].expressions
    target = np.zeros((H, W), bool)
    target[1:6, 1:6] = True
    unknown = np.zeros((H, W), bool)
    unknown[2:4, 2:4] = True
    assert expression.text == "what would you sit on?"
    assert (expression.unknown == unknown).all() and (expression.mask == (target & ~unknown)).all()
    assert [e.text for e in open_set("reasonseg", reasonseg, "train")[0].expressions] == [
        "what would you sit on?", "seat"]


def test_reasonseg_of_another_code_page(reasonseg):
    path = reasonseg / "val/1.json"
    path.write_bytes('{"text": ["the café’s door"], "shapes": []}'.encode("cp1252"))
    (expression,) = open_set("reasonseg", reasonseg, "val")[0].expressions
    assert expression.text == "the café’s door" and not expression.mask.any()


def test_reasonseg_that_is_wrong(reasonseg):
    assert "train, val, test" in check_wrong("reasonseg", reasonseg, "dev", "dev")
    assert "LISA" in check_wrong("reasonseg", reasonseg, str(reasonseg / "test"), "test")
    path = reasonseg / "val/1.json"
    write(path, {"text": ["x"], "shapes": [{"label": "target", "points": []}]})
    check_wrong("reasonseg", reasonseg, "1.json")
    write(path, "{")
    check_wrong("reasonseg", reasonseg, "1.json")
    path.unlink()
    assert "ReasonSeg" in check_wrong("reasonseg", reasonseg, "val")


# The registry

def test_all_sets_are_listed():
    assert {"coco_panoptic", "refcoco+", "folder", "hypersim", "redwood"} <= set(SETS)


def test_sets_that_are_not_there(tmp_path, monkeypatch):
    assert "ade20k" in check_wrong("ade", tmp_path, "'ade'")
    check_wrong("ade20k", tmp_path / "nowhere", "nowhere")
    monkeypatch.setitem(SETS, "voc", sets._Opener("nomodule:open_nomodule"))
    assert "newer" in check_wrong("voc", tmp_path, "voc")

    def needy(folder, split):
        raise ModuleNotFoundError("No module named 'h5py'", name="h5py")

    monkeypatch.setitem(SETS, "voc", needy)
    assert "pip install 'vbanana_ros[tune]'" in check_wrong("voc", tmp_path, "h5py")
