"""Public sets, each read from its own layout on disk, and rendered scenes, by name."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from vbanana_ros.errors import InputError
from vbanana_ros.tuning.records import Open, RecordSet


@dataclass(frozen=True)
class _Opener:
    """`module:function` under this package, imported at the first call: some sets need packages that others do not."""

    target: str

    def __call__(self, folder: Path, split: str) -> RecordSet:
        module, function = self.target.split(":")
        return getattr(import_module(f".{module}", __name__), function)(folder, split)


SETS: dict[str, Open] = {name: _Opener(target) for name, target in {
    "coco_panoptic": "coco:open_coco_panoptic",
    "coco_instances": "coco:open_coco_instances",
    "ade20k": "ade20k:open_ade20k",
    "cityscapes": "cityscapes:open_cityscapes",
    "voc": "voc:open_voc",
    "refcoco": "refcoco:open_refcoco",
    "refcoco+": "refcoco:open_refcoco_plus",
    "refcocog": "refcoco:open_refcocog",
    "reasonseg": "reasonseg:open_reasonseg",
    "hypersim": "hypersim:open_hypersim",
    "vkitti2": "vkitti2:open_vkitti2",
    "nyuv2": "nyuv2:open_nyuv2",
    "kitti": "kitti:open_kitti",
    "diode": "diode:open_diode",
    "ibims1": "ibims1:open_ibims1",
    "eth3d": "eth3d:open_eth3d",
    "scannet": "scannet:open_scannet",
    "redwood": "redwood:open_redwood",
    "folder": "folder:open_folder",
    "scenes": ".scenes:open_scenes",
    "studio": ".scenes:open_studio",
}.items()}


def open_set(name: str, folder: Path, split: str) -> RecordSet:
    """The split of a set that lies in a folder.

    Raises InputError for a name, folder, split or file that is not there, and where a package is missing.
    """
    if name not in SETS:
        raise InputError(f"no set is called {name!r}; there are {', '.join(SETS)}")
    if not folder.is_dir():
        raise InputError(f"no folder {str(folder)!r}; give the one where {name} was unpacked")
    try:
        return SETS[name](folder, split)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(__name__):
            raise InputError(f"this installation cannot read {name}; install a newer vbanana_ros") from None
        raise InputError(f"{name} needs the package {error.name}; pip install 'vbanana_ros[tune]'") from None
