"""Redwood RGB-D frames as Open3D ships them (SampleRedwoodRGBDImages; www.open3d.org/docs, "RGBD images").

color_00000.jpg, depth_00000.png (or color/00000.jpg, depth/00000.png) and camera_primesense.json. Depth is uint16
millimetres along the optical axis, registered to the colour image; 0 is not known.
"""

from __future__ import annotations

from pathlib import Path

from vbanana_ros.camera import Camera
from vbanana_ros.tuning.records import Listed
from vbanana_ros.tuning.sets.flat import number, open_flat
from vbanana_ros.tuning.sets.layout import check_split

SPLITS = ("test",)
_CAMERA = "camera_primesense.json"
_MEND = "give the folder of Open3D's Redwood frames"


def open_redwood(folder: Path, split: str) -> Listed:
    """rgb, depth, and K where camera_primesense.json is there. Raises InputError."""
    check_split("redwood", split, SPLITS)
    K = Camera.from_file(folder / _CAMERA).K if (folder / _CAMERA).is_file() else None
    if (folder / "color").is_dir():
        return open_flat("redwood", folder, "color/*.jpg", lambda path: folder / "depth" / f"{number(path)}.png", 1000,
                         lambda _: K)
    return open_flat("redwood", folder, "color_*.jpg", lambda path: folder / f"depth_{number(path)}.png", 1000,
                     lambda _: K)
