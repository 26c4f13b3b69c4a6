"""A model's dialect: its own wordings, depth code, axes of normals, and how it paints instances, as tasks."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from vbanana_ros.colors import parse_color
from vbanana_ros.errors import RequestError
from vbanana_ros.tasks.base import Task
from vbanana_ros.tasks.depth import Depth
from vbanana_ros.tasks.gray import Gray, InverseGray, LogGray
from vbanana_ros.tasks.instance import Instance, InstanceDecoder
from vbanana_ros.tasks.normals import Normals
from vbanana_ros.tasks.picture import PictureTask
from vbanana_ros.tasks.referring import Referring
from vbanana_ros.tasks.semantic import Semantic
from vbanana_ros.tasks.wording import parse_wording

if TYPE_CHECKING:
    from vbanana_ros.generators.profile import Profile

DEPTH_CODES = {"hilbert": Depth, "gray": Gray, "log-gray": LogGray, "inverse-gray": InverseGray}
# The paper's tasks, what a model speaks that says nothing else of itself.
TASKS: dict[str, Task] = {t.name: t for t in (Depth(), Normals(), Semantic(), Instance(), Referring(), PictureTask())}


def dialect(profile: Profile | None = None) -> dict[str, Task]:
    """Every task by name, as a model of this profile speaks it; TASKS where there is none.

    Raises ValueError for an unknown depth code, axes or parameter of the instance decoder, and for prompts that are no
    templates, naming what is known.
    """
    if profile is None:
        return TASKS
    if profile.depth_code not in DEPTH_CODES:
        raise ValueError(f"unknown depth code {profile.depth_code!r}; known are {', '.join(DEPTH_CODES)}")
    try:
        background = parse_color(profile.instance_background) if profile.instance_background else None
    except RequestError as error:
        raise ValueError(f"instance_background: {error}") from None
    spoken = [DEPTH_CODES[profile.depth_code](), Normals(axes=profile.normals_axes), Semantic(),
              Instance(background=background, decoder=_decoder(profile.instance_decoder)), Referring(), PictureTask()]
    tasks: dict[str, Task] = {task.name: task for task in spoken}
    for name, written in profile.prompts.items():
        if name not in tasks:
            raise ValueError(f"prompts of an unknown task {name!r}; known are {', '.join(tasks)}")
        tasks[name].wording = parse_wording(name, written, tasks[name].wording)
    return tasks


def _decoder(parameters: dict[str, float]) -> InstanceDecoder:
    known = [field.name for field in fields(InstanceDecoder)]
    for name, value in parameters.items():
        if name not in known:
            raise ValueError(f"unknown parameter {name!r} of the instance decoder; known are {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise ValueError(f"{name} of the instance decoder is {value!r}, not a number from 0 on")
    return InstanceDecoder(**parameters)
