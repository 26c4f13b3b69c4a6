"""Readers of sets with depth and normals: tiny trees of the real layouts, and numbers worked out by hand."""

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from vbanana_ros.errors import InputError
from vbanana_ros.results import UNLABELED_8
from vbanana_ros.tuning.sets.diode import open_diode
from vbanana_ros.tuning.sets.eth3d import open_eth3d
from vbanana_ros.tuning.sets.hypersim import open_hypersim, planar_depth, tone_map
from vbanana_ros.tuning.sets.ibims1 import open_ibims1
from vbanana_ros.tuning.sets.kitti import open_kitti
from vbanana_ros.tuning.sets.nyuv2 import open_nyuv2
from vbanana_ros.tuning.sets.redwood import open_redwood
from vbanana_ros.tuning.sets.scannet import open_scannet
from vbanana_ros.tuning.sets.vkitti2 import open_vkitti2

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
OPEN = {"hypersim": open_hypersim, "vkitti2": open_vkitti2, "nyuv2": open_nyuv2, "kitti": open_kitti,
        "diode": open_diode, "ibims1": open_ibims1, "eth3d": open_eth3d, "scannet": open_scannet,
        "redwood": open_redwood}
H, W = 3, 4
GRAY = np.full((H, W, 3), 128, np.uint8)
TOWARD, UP, RIGHT = (0, 0, -1), (0, -1, 0), (1, 0, 0)  # optical frame: a wall seen head on, a floor, a wall on the left


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".hdf5":
        with h5py.File(path, "w") as file:
            file["dataset"] = array
    elif path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path, **options)
    return path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def grid(value, dtype, *others):
    """[H, W] of one value; others: (row, column, value)."""
    array = np.full((H, W), value, dtype)
    for row, col, other in others:
        array[row, col] = other
    return array


def vectors(*rows):
    """One vector for each row of the image -> float32 [H, W, 3]."""
    return np.repeat(np.float32(rows)[:, None], W, 1)


def damage(path, open_again):
    """Reading a cut file must name it; whole again afterwards."""
    whole = path.read_bytes()
    for size in (0, 20, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=path.name) as caught:
            open_again()[0]
        assert "copy it" in str(caught.value) and "\n" not in str(caught.value)
    path.write_bytes(whole)


# --- what all have in common ---

@pytest.mark.parametrize("name", OPEN)
def test_a_missing_or_an_empty_folder_names_itself_and_the_mend(name, tmp_path):
    split = "val" if name in ("vkitti2", "diode") else "test"
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError, match=str(tmp_path)) as caught:
            OPEN[name](folder, split)
        assert "; give the folder" in str(caught.value) or "; put " in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name,splits", [
    ("hypersim", "train, val, test"), ("vkitti2", "train, val"), ("kitti", "train, val, test"), ("diode", "train, val"),
    ("ibims1", "test"), ("eth3d", "test"), ("scannet", "train, val, test"), ("redwood", "test")])
def test_a_bad_split_lists_the_splits(name, splits, tmp_path):
    with pytest.raises(InputError, match=f"{name} has no split 'trian'.*{splits}$"):
        OPEN[name](tmp_path, "trian")


# --- Hypersim ---

def hypersim(folder, frames=((0, "train"),)):
    rows = [["scene_name", "camera_name", "frame_id", "included_in_public_release", "exclude_reason",
             "split_partition_name"]]
    rows += [["ai_001_001", "cam_00", number, True, "", split] for number, split in frames]
    rows += [["ai_001_001", "cam_00", 90, True, "", "train"], ["ai_001_001", "cam_00", 91, False, "x", "train"],
             ["ai_002_001", "cam_00", 0, True, "", "train"]]
    with (folder / "metadata_images_split_scene_v1.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    images = folder / "ai_001_001" / "images"
    for number, _ in frames:
        geometry = images / "scene_cam_00_geometry_hdf5" / f"frame.{number:04d}"
        def part(what, geometry=geometry):
            return geometry.with_name(f"{geometry.name}.{what}.hdf5")
        save(part("depth_meters"), grid(2, np.float16, (1, 1, np.nan)))
        # Facing us, a floor, and a wall on the left whose maker turned it inside out (and made it too long).
        save(part("normal_cam"), np.float16(vectors((0, 0, 1), (0, 1, 0), (-2, 0, 0))))
        save(part("semantic"), grid(5, np.int16, (0, 0, -1), (0, 1, 28), (2, 3, 1)))
        save(part("semantic_instance"), grid(7, np.int32, (0, 0, -1), (0, 1, 9), (2, 3, 11)))
        save(part("render_entity_id"), grid(3, np.int32, (2, 2, -1)))
        save(images / "scene_cam_00_final_hdf5" / f"frame.{number:04d}.color.hdf5", np.full((H, W, 3), 5, np.float16))
    return folder


def test_hypersim_turns_distance_along_the_ray_into_planar_depth(tmp_path):
    record = open_hypersim(hypersim(tmp_path), "train")[0]
    # 60 degrees over 4 columns: f = 2 / tan(30 deg) = 3.4641; corner ray (-1.5, -1) / f, of length 1.127313.
    assert record.K == pytest.approx(np.array([[3.4641016, 0, 1.5], [0, 3.4641016, 1], [0, 0, 1]]))
    assert record.depth[0, 0] == pytest.approx(2 / 1.127313, rel=1e-5)
    assert record.depth[1, 2] == pytest.approx(2 / np.hypot(1, 0.5 / 3.4641016), rel=1e-5)
    assert np.isnan(record.depth[[1, 2], [1, 2]]).all() and record.depth.dtype == np.float32
    assert record.name == "ai_001_001/cam_00/0000"


def test_hypersim_depth_is_the_published_formula_at_full_size():
    u, v = np.meshgrid(np.linspace(-511.5, 511.5, 1024), np.linspace(-383.5, 383.5, 768))
    rays = np.stack((u / 886.81, v / 886.81, np.ones_like(u)), -1)
    depth = planar_depth(np.full((768, 1024), 10, np.float32), rays)
    assert depth[0, 0] == pytest.approx(10 * 886.81 / np.sqrt(511.5**2 + 383.5**2 + 886.81**2))


def test_hypersim_normals_are_optical_and_face_the_camera(tmp_path):
    normals = open_hypersim(hypersim(tmp_path), "train")[0].normals
    assert np.allclose(normals[0], TOWARD) and np.allclose(normals[2, :2], RIGHT)
    assert np.allclose(normals[2, 2:], (-1, 0, 0))  # the same vectors right of the middle did face us
    # Row 1 is on the horizon, where a floor is seen edge on.
    assert np.allclose(np.abs(normals[1]), np.abs(UP))


def test_hypersim_classes_and_instances(tmp_path):
    record = open_hypersim(hypersim(tmp_path), "train")[0]
    assert record.labels[0, 0] == UNLABELED_8 and record.names[record.labels[1, 1]] == "chair"
    assert record.names[record.labels[0, 1]] == "shower curtain" and len(record.names) == 40
    assert [thing.name for thing in record.things] == ["chair", "shower curtain"]  # a wall is no thing
    assert record.things[0].mask.sum() == 9 and record.things[1].mask[0, 1]
    assert "wall" not in record.thing_names and "chair" in record.thing_names


def test_hypersim_tone_mapping_is_the_authors():
    # All of one radiance: the 90th percentile is it, and becomes 0.8 of full brightness.
    surface = np.ones((H, W), bool)
    assert (tone_map(np.full((H, W, 3), 5.0), surface) == 204).all()
    assert not tone_map(np.zeros((H, W, 3)), surface).any()
    lamp = np.full((H, W, 3), 5.0)
    lamp[0, 0] = 5000, np.nan, np.inf
    surface[0, 0] = False
    assert tone_map(lamp, surface)[0, 0].tolist() == [255, 0, 0] and tone_map(lamp, surface)[1, 1, 0] == 204


def test_hypersim_lists_only_public_frames_of_the_split_that_are_on_disk(tmp_path):
    folder = hypersim(tmp_path, ((0, "train"), (1, "val"), (2, "train")))
    assert len(open_hypersim(folder, "train")) == 2 and len(open_hypersim(folder, "val")) == 1
    with pytest.raises(InputError, match="no images of this split"):
        open_hypersim(folder, "test")


def test_hypersim_falls_back_on_the_preview(tmp_path):
    folder = hypersim(tmp_path)
    images = folder / "ai_001_001" / "images"
    (images / "scene_cam_00_final_hdf5" / "frame.0000.color.hdf5").unlink()
    save(images / "scene_cam_00_final_preview" / "frame.0000.tonemap.jpg", GRAY)
    assert np.abs(open_hypersim(folder, "train")[0].rgb - 128.0).max() <= 1


def test_hypersim_reads_the_camera_of_each_scene(tmp_path):
    folder = hypersim(tmp_path)
    keys = [f"M_cam_from_uv_{i}{j}" for i in range(3) for j in range(3)]

    def record(*matrix):
        write(folder / "metadata_camera_parameters.csv",
              ",".join(["scene_name", *keys]) + "\n" + ",".join(["ai_001_001", *map(str, matrix)]) + "\n")
        return open_hypersim(folder, "train")[0]

    assert record(1, 0, 0, 0, 0.75, 0, 0, 0, -1).K[0, 0] == pytest.approx(2)  # 90 degrees over 4 columns
    tilted = record(0.5, 0, 0, 0, 0.375, 0, 0, 0.4, -1)
    # Pixel (0, 0): u = -3/4, v = 2/3: ray (-3/8, 1/4, 4/15 - 1) with y up and z back.
    ray = np.array([-3 / 8, -1 / 4, 11 / 15])
    assert tilted.K is None and tilted.depth[0, 0] == pytest.approx(2 * ray[2] / np.linalg.norm(ray), rel=1e-5)


def test_hypersim_names_a_damaged_file(tmp_path):
    folder = hypersim(tmp_path)
    for kind, what in (("geometry_hdf5", "normal_cam"), ("final_hdf5", "color"), ("geometry_hdf5", "depth_meters")):
        path = folder / "ai_001_001" / "images" / f"scene_cam_00_{kind}" / f"frame.0000.{what}.hdf5"
        damage(path, lambda: open_hypersim(folder, "train"))


# --- Virtual KITTI 2 ---

def vkitti2(folder, prefix="vkitti_2.0.3_", scene="Scene01"):
    def root(part):
        return folder / f"{prefix}{part}" / scene / "clone"
    frames = "frames/{0}/Camera_1/{1}"
    save(root("rgb") / frames.format("rgb", "rgb_00003.jpg"), GRAY)
    save(root("depth") / frames.format("depth", "depth_00003.png"), grid(1234, np.uint16, (0, 0, 65535), (0, 1, 65534)))
    classes = np.full((H, W, 3), (255, 127, 80), np.uint8)
    classes[0, :2], classes[1, 0] = (90, 200, 255), (0, 0, 0)
    save(root("classSegmentation") / frames.format("classSegmentation", "classgt_00003.png"), classes)
    instances = Image.fromarray(grid(0, np.uint8, (2, 1, 4), (2, 2, 4), (0, 0, 9)))
    instances.putpalette([i % 7 * 30 for i in range(768)])
    path = root("instanceSegmentation") / frames.format("instanceSegmentation", "instancegt_00003.png")
    path.parent.mkdir(parents=True)
    instances.save(path)
    write(root("textgt") / "intrinsic.txt", "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]\n"
          "3 0 1 1 1 1\n3 1 725.0087 725.0087 620.5 187\n")
    return folder


@pytest.mark.parametrize("prefix", ["vkitti_2.0.3_", ""])
def test_vkitti2_depth_is_centimetres_and_the_sky_is_infinite(tmp_path, prefix):
    record = open_vkitti2(vkitti2(tmp_path, prefix), "val")[0]
    assert record.depth[0, 0] == np.inf and record.depth[0, 1] == pytest.approx(655.34)
    assert record.depth[2, 3] == pytest.approx(12.34) and record.depth.dtype == np.float32
    assert record.name == "Scene01/clone/Camera_1/00003" and np.abs(record.rgb - 128.0).max() <= 1
    assert record.K.tolist() == [[725.0087, 0, 620.5], [0, 725.0087, 187], [0, 0, 1]]


def test_vkitti2_classes_and_vehicles(tmp_path):
    record = open_vkitti2(vkitti2(tmp_path), "val")[0]
    assert record.names[record.labels[0, 0]] == "sky" and record.names[record.labels[2, 2]] == "car"
    assert record.labels[1, 0] == UNLABELED_8
    # Track 8 lies on the sky: it is no vehicle.
    assert [(t.name, np.argwhere(t.mask).tolist()) for t in record.things] == [("car", [[2, 1], [2, 2]])]


def test_vkitti2_reads_scenes_merged_into_one_tree_and_without_classes(tmp_path):
    save(tmp_path / "Scene02/fog/frames/rgb/Camera_0/rgb_00000.jpg", GRAY)
    save(tmp_path / "Scene02/fog/frames/depth/Camera_0/depth_00000.png", grid(100, np.uint16))
    record = open_vkitti2(tmp_path, "train")[0]
    assert (record.depth == 1).all() and record.labels is None and record.things is None and record.K is None


def test_vkitti2_names_a_damaged_file(tmp_path):
    path = vkitti2(tmp_path) / "vkitti_2.0.3_depth/Scene01/clone/frames/depth/Camera_1/depth_00003.png"
    damage(path, lambda: open_vkitti2(tmp_path, "val"))
    save(path, np.full((H, W), 9, np.uint8))
    with pytest.raises(InputError, match="depth_00003.png.*16 bits"):
        open_vkitti2(tmp_path, "val")[0]


# --- NYUv2 ---

def nyuv2(folder):
    """Two images of 3 x 4: the first is for training, the second for testing."""
    n = 2
    labels = np.zeros((n, H, W), np.uint16)
    labels[0, 0], labels[1, 0], labels[1, 1, :2], labels[1, 1, 2:] = 1, 2, 300, 1
    instances = np.zeros((n, H, W), np.uint8)
    instances[1, 0, :2], instances[1, 0, 2:], instances[1, 1] = 1, 2, 1
    rgb = np.zeros((n, H, W, 3), np.uint8)
    rgb[1, 0, 3] = 10, 20, 30
    raw = np.ones((n, H, W), np.float32) * 2.5
    raw[1, 2, 0] = 0
    names = ["wall", "chair", *(f"n{i}" for i in range(3, 300)), "magnet"]
    with h5py.File(folder / "nyu_depth_v2_labeled.mat", "w") as file:  # MATLAB's axes are the reverse of HDF5's
        file["images"] = rgb.transpose(0, 3, 2, 1)
        file["rawDepths"], file["depths"] = raw.transpose(0, 2, 1), np.full((n, W, H), 9, np.float32)
        file["labels"], file["instances"] = labels.transpose(0, 2, 1), instances.transpose(0, 2, 1)
        strings = [file.create_dataset(f"#refs#/{i}", data=np.uint16([*map(ord, name)])[:, None])
                   for i, name in enumerate(names)]
        file["names"] = np.array([[s.ref for s in strings]], h5py.ref_dtype)
    scipy.io.savemat(folder / "splits.mat", {"trainNdxs": [[1]], "testNdxs": [[2]]})
    return folder


def test_nyuv2_reads_matlabs_axes_the_raw_depth_and_the_split(tmp_path):
    train, test = (open_nyuv2(nyuv2(tmp_path), split) for split in ("train", "test"))
    record = test[0]
    assert len(train) == len(test) == 1 and (train[0].name, record.name) == ("0001", "0002")
    assert record.rgb.shape == (H, W, 3) and record.rgb[0, 3].tolist() == [10, 20, 30]
    assert np.isnan(record.depth[2, 0]) and record.depth[0, 0] == 2.5
    assert record.K[0, 0] == pytest.approx(518.857901) and record.K[1, 2] == pytest.approx(253.736166)
    assert train[0].things == () and train[0].names == ("wall",)


def test_nyuv2_names_beyond_255_and_instances(tmp_path):
    record = open_nyuv2(nyuv2(tmp_path), "test")[0]
    assert record.names == ("wall", "chair", "magnet")
    assert [record.names[i] for i in record.labels[1]] == ["magnet", "magnet", "wall", "wall"]
    assert (record.labels[2] == UNLABELED_8).all()
    assert [(t.name, int(t.mask.sum())) for t in record.things] == [("chair", 2), ("chair", 2), ("magnet", 2)]
    assert record.things[0].mask[0, :2].all() and record.thing_names == ("chair", "magnet")


def test_nyuv2_maps_to_forty_classes_where_the_map_is_there(tmp_path):
    folder = nyuv2(tmp_path)
    scipy.io.savemat(folder / "classMapping40.mat", {"mapClass": np.array([[1, 5, *[40] * 298]], np.uint8)})
    record = open_nyuv2(folder, "test")[0]
    assert [record.names[i] for i in record.labels[1]] == ["other prop", "other prop", "wall", "wall"]
    assert record.names[record.labels[0, 0]] == "chair" and record.things[2].name == "magnet"


def test_nyuv2_without_its_split_or_damaged(tmp_path):
    folder = nyuv2(tmp_path)
    with pytest.raises(InputError, match="has no split 'val'; choose one of train, test|'val'.*train, test"):
        open_nyuv2(folder, "val")
    (folder / "splits.mat").rename(folder / "s")
    with pytest.raises(InputError, match="splits.mat.* is missing"):
        open_nyuv2(folder, "test")
    (folder / "s").rename(folder / "splits.mat")
    records = open_nyuv2(folder, "test")
    damage(folder / "nyu_depth_v2_labeled.mat", lambda: records)


def test_nyuv2_as_bts_unpacks_it(tmp_path):
    save(tmp_path / "test/bathroom/rgb_00045.jpg", GRAY)
    path = save(tmp_path / "test/bathroom/sync_depth_00045.png", grid(1500, np.uint16, (0, 0, 0)))
    record = open_nyuv2(tmp_path, "test")[0]
    assert np.isnan(record.depth[0, 0]) and record.depth[1, 1] == 1.5 and record.name == "bathroom/rgb_00045"
    with pytest.raises(InputError, match="train"):
        open_nyuv2(tmp_path, "train")
    damage(path, lambda: open_nyuv2(tmp_path, "test"))
    path.unlink()
    with pytest.raises(InputError, match="rgb_00045.jpg.*no 'sync_depth_00045.png'"):
        open_nyuv2(tmp_path, "test")


# --- KITTI ---

DRIVE = "2011_09_26_drive_0001_sync"
TRUTH = "proj_depth/groundtruth"
DEPTH = grid(0, np.uint16, (1, 2, 256 * 7 + 128))


def kitti_train(folder):
    save(folder / f"data_depth_annotated/train/{DRIVE}/{TRUTH}/image_03/0000000005.png", DEPTH)
    without_raw = folder / "data_depth_annotated/train/2011_09_28_drive_0002_sync"
    save(without_raw / TRUTH / "image_02/0000000005.png", DEPTH)
    save(folder / f"2011_09_26/{DRIVE}/image_03/data/0000000005.png", GRAY)
    write(folder / "2011_09_26/calib_cam_to_cam.txt", "calib_time: 09-Jan-2012 13:57:47\nP_rect_02: " + "9 " * 12
          + "\nP_rect_03: 721.5 0 609.5 -339.5 0 722.5 172.8 2.1 0 0 1 0.002\n")
    return folder


def test_kitti_annotated_depth_with_the_raw_drives(tmp_path):
    records = open_kitti(kitti_train(tmp_path), "train")
    record = records[0]
    assert len(records) == 1 and record.name == f"{DRIVE}/image_03/0000000005"
    assert record.depth[1, 2] == 7.5 and np.isnan(record.depth).sum() == H * W - 1
    assert record.K.tolist() == [[721.5, 0, 609.5], [0, 722.5, 172.8], [0, 0, 1]]
    assert 1 / record.floor[1] == pytest.approx(1.65) and record.floor[0] == record.floor[2] == 0
    damage(tmp_path / f"2011_09_26/{DRIVE}/image_03/data/0000000005.png", lambda: records)


def test_kitti_selected_validation(tmp_path):
    root = tmp_path / "depth_selection/val_selection_cropped"
    name = f"{DRIVE}_{{}}_0000000005_image_02"
    save(root / "image" / f"{name.format('image')}.png", GRAY)
    path = save(root / "groundtruth_depth" / f"{name.format('groundtruth_depth')}.png", DEPTH)
    write(root / "intrinsics" / f"{name.format('image')}.txt", "721.5 0.0 596.5 0.0 721.5 149.8 0.0 0.0 1.0\n")
    record = open_kitti(tmp_path, "val")[0]
    assert record.depth[1, 2] == 7.5 and record.K[0].tolist() == [721.5, 0, 596.5]
    assert record.name == name.format("image")
    damage(path, lambda: open_kitti(tmp_path, "val"))


def test_kitti_eigens_test_files(tmp_path):
    folder = kitti_train(tmp_path)
    with pytest.raises(InputError, match="eigen_test_files_with_gt.txt.* is missing; put"):
        open_kitti(folder, "test")
    write(folder / "eigen_test_files_with_gt.txt",
          f"2011_09_26/{DRIVE}/image_03/data/0000000005.png {DRIVE}/{TRUTH}/image_03/0000000005.png 721.5\n"
          f"2011_09_26/{DRIVE}/image_03/data/0000000069.png None 721.5\n")
    records = open_kitti(folder, "test")
    assert len(records) == 1 and records[0].depth[1, 2] == 7.5


# --- DIODE ---

def diode(folder):
    stem = folder / "val/indoors/scene_00021/scan_00189/00021_00189_indoors_200_010"
    save(stem.with_suffix(".png"), GRAY)
    save(stem.with_name(stem.name + "_depth.npy"), grid(3, np.float32, (0, 0, 0.2))[..., None])
    save(stem.with_name(stem.name + "_depth_mask.npy"), grid(1, np.float32, (0, 0, 0)))
    save(stem.with_name(stem.name + "_normal.npy"), np.float64(vectors((0, 0, 1), (0, 0, -1), (0, 0, 0))))
    return stem


def test_diode_masks_depth_and_turns_normals(tmp_path):
    diode(tmp_path)
    record = open_diode(tmp_path, "val")[0]
    assert np.isnan(record.depth[0, 0]) and record.depth[1, 1] == 3 and record.depth.shape == (H, W)
    assert np.allclose(record.normals[:2], TOWARD) and np.isnan(record.normals[2]).all()
    assert record.K.tolist() == [[886.81, 0, 512], [0, 927.06, 384], [0, 0, 1]]
    assert record.name == "indoors/scene_00021/scan_00189/00021_00189_indoors_200_010"


def test_diode_floor_and_wall_have_the_axes_of_the_optical_frame(tmp_path):
    stem = diode(tmp_path)
    # Above and left of the principal point a ceiling looks down (y up in the file) and a left wall looks right.
    save(stem.with_name(stem.name + "_normal.npy"), vectors((0, -1, 0), (1, 0, 0), (0, 1, 0)))
    normals = open_diode(tmp_path, "val")[0].normals
    assert np.allclose(normals[0], (0, 1, 0)) and np.allclose(normals[1], RIGHT)
    assert np.allclose(normals[2], (0, 1, 0))  # nothing above the eye can look up: turned round


def test_diode_without_normals_and_damaged(tmp_path):
    stem = diode(tmp_path)
    damage(stem.with_name(stem.name + "_normal.npy"), lambda: open_diode(tmp_path, "val"))
    stem.with_name(stem.name + "_normal.npy").unlink()
    assert open_diode(tmp_path, "val")[0].normals is None
    stem.with_name(stem.name + "_depth_mask.npy").unlink()
    with pytest.raises(InputError, match="_depth_mask.npy"):
        open_diode(tmp_path, "val")[0]


# --- iBims-1 ---

def test_ibims1_masks_and_matlabs_camera(tmp_path):
    write(tmp_path / "imagelist.txt", "corridor_01\n")
    path = tmp_path / "ibims1_core_mat" / "corridor_01.mat"
    path.parent.mkdir()
    scipy.io.savemat(path, {"data": {
        "rgb": GRAY, "depth": grid(4.5, np.float64, (0, 0, 0)), "mask_invalid": grid(1, np.uint8, (0, 1, 0)),
        "mask_transp": grid(1, np.uint8, (0, 2, 0)), "calib": np.float64([[560, 0, 0], [0, 561, 0], [321, 241, 1]])}})
    record = open_ibims1(tmp_path, "test")[0]
    assert np.isnan(record.depth[0, :3]).all() and record.depth[0, 3] == 4.5 and record.depth.dtype == np.float32
    assert record.K.tolist() == [[560, 0, 320], [0, 561, 240], [0, 0, 1]] and (record.rgb == 128).all()
    damage(path, lambda: open_ibims1(tmp_path, "test"))


# --- ETH3D ---

def test_eth3d_raw_depth_and_colmaps_camera(tmp_path):
    scene = tmp_path / "office"
    for name in ("DSC_0219.JPG", "DSC_0220.JPG"):
        exif = Image.Exif()
        exif[0x0112] = 6  # "turn me": the truth is on the stored grid
        save(scene / "images/dslr_images" / name, GRAY, exif=exif)
    path = scene / "ground_truth_depth/dslr_images/DSC_0219.JPG"
    path.parent.mkdir(parents=True)
    grid(1.25, "<f4", (0, 0, np.inf), (2, 3, 6)).tofile(path)
    write(scene / "dslr_calibration_jpg/cameras.txt", "# Camera list\n"
          "0 THIN_PRISM_FISHEYE 4 3 3410 3409.5 2.5 1.75 0.2 0.1 0 0 0 0 0 0\n")
    write(scene / "dslr_calibration_jpg/images.txt", "# Image list\n"
          "1 0.9 0 0 0 1 2 3 0 dslr_images/DSC_0219.JPG\n1.5 2.5 17 3.5 4.5 -1 5.5 6.5 -1 7.5\n"
          "2 0.9 0 0 0 1 2 3 0 dslr_images/DSC_0220.JPG\n\n")
    records = open_eth3d(tmp_path, "test")
    record = records[0]
    assert len(records) == 1 and record.rgb.shape == (H, W, 3) and record.name == "office/DSC_0219"
    assert np.isnan(record.depth[0, 0]) and record.depth[2, 3] == 6 and record.depth[1, 1] == 1.25
    assert record.K.tolist() == [[3410, 0, 2], [0, 3409.5, 1.25], [0, 0, 1]]
    damage(path, lambda: records)


# --- ScanNet ---

def test_scannet_normals_in_dsines_code(tmp_path):
    scene = tmp_path / "scene0532_00"
    save(scene / "000000_img.png", GRAY)
    # Away from the camera in the file: a wall head on (0, 0, 1), a floor (0, 1, 0), and nothing known.
    code = np.uint8(np.round((vectors((0, 0, 1), (0, 1, 0), (-1, -1, -1)) + 1) / 2 * 255))
    path = save(scene / "000000_normal.png", code)
    save(scene / "000000_intrins.npy", np.float32([[577, 0, 319.5], [0, 578, 239.5], [0, 0, 1]]))
    record = open_scannet(tmp_path, "test")[0]
    assert np.allclose(record.normals[0], TOWARD, atol=0.01) and np.allclose(record.normals[1], UP, atol=0.01)
    assert np.isnan(record.normals[2]).all() and np.allclose(np.linalg.norm(record.normals[:2], axis=-1), 1)
    assert record.K[0].tolist() == [577, 0, 319.5] and record.depth is None and record.name == "scene0532_00/000000"
    with pytest.raises(InputError, match="'train'.*test"):
        open_scannet(tmp_path, "train")
    damage(path, lambda: open_scannet(tmp_path, "test"))


def test_scannet_depth_as_exported(tmp_path):
    scene = tmp_path / "scene0406_02"
    for number in (100, 20):
        path = save(scene / f"depth/{number}.png", grid(number, np.uint16, (0, 0, 0)))
        save(scene / f"color/{number}.jpg", GRAY.repeat(2, 0).repeat(2, 1))
    write(scene / "intrinsic/intrinsic_depth.txt", "577 0 319.5 0\n0 578 239.5 0\n0 0 1 0\n0 0 0 1\n")
    write(tmp_path / "scannetv2_val.txt", "scene0000_00\nscene0406_02\n")
    records = open_scannet(tmp_path, "val")
    assert [record.name for record in records] == ["scene0406_02/20", "scene0406_02/100"]
    assert records[1].depth[1, 1] == pytest.approx(0.1) and np.isnan(records[1].depth[0, 0])
    assert records[1].rgb.shape == (H, W, 3) and records[1].K[1].tolist() == [0, 578, 239.5]
    damage(path, lambda: records)


# --- Redwood ---

def test_redwood_both_layouts(tmp_path):
    camera = json.dumps({"width": W, "height": H, "intrinsic_matrix": [525, 0, 0, 0, 525, 0, 319.5, 239.5, 1]})
    for folder, color, depth in ((tmp_path / "a", "color_00000.jpg", "depth_00000.png"),
                                 (tmp_path / "b", "color/00000.jpg", "depth/00000.png")):
        save(folder / color, GRAY)
        path = save(folder / depth, grid(2195, np.uint16, (0, 0, 0)))
        write(folder / "camera_primesense.json", camera)
        record = open_redwood(folder, "test")[0]
        assert record.depth[1, 1] == pytest.approx(2.195) and np.isnan(record.depth[0, 0])
        assert record.K.tolist() == [[525, 0, 319.5], [0, 525, 239.5], [0, 0, 1]]
        damage(path, lambda folder=folder: open_redwood(folder, "test"))


# --- real frames ---

@pytest.mark.parametrize("name,folder,count,size,focal,median,known", [
    ("nyuv2", "nyu_metric3d", 3, (480, 640), 518.8579, 3.258, 0.7328),
    ("kitti", "kitti_metric3d", 3, (375, 1242), 707.0493, 3544 / 256, 0.1950),
    ("redwood", "open3d_redwood", 5, (480, 640), 525, 1.861, 0.8696)])
def test_real_frames(name, folder, count, size, focal, median, known):
    if not (SHARED / folder).is_dir():
        pytest.skip("no real frames: ../shared/data is not there")
    records = OPEN[name](SHARED / folder, "test")
    record = records[0]
    assert len(records) == count and record.rgb.shape == (*size, 3) and record.rgb.std() > 20
    assert record.K[0, 0] == pytest.approx(focal) and np.isfinite(record.depth).mean() == pytest.approx(known, abs=1e-3)
    assert np.nanmedian(record.depth) == pytest.approx(median, rel=1e-3)
    with pytest.raises(InputError, match="'val'.*test"):
        OPEN[name](SHARED / folder, "val")
