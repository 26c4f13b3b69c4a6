"""What the user asks for, from a ROS parameter file and from flags: one form for the command and the node."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from vbanana_ros.errors import RequestError
from vbanana_ros.tasks import TASKS, Request, make_request

NODE = "perception_node"


@dataclass(frozen=True)
class Legend:
    """The words of a task and their colours, as the user wrote them."""

    names: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()
    background: str = ""


@dataclass(frozen=True)
class Params:
    """All parameters of perception; the same names in `config/perception.yaml` and on the node.

    tasks: what is asked of every frame. semantic, instance, referring: their words and colours.
    picture: the text of task `picture`. model: a shipped model's name or a directory. device: auto, cpu, cuda.
    steps: denoising steps, 0 for the model's own. min_range, max_range: metres, of the cloud; stride: pixels.
    """

    model: str = "nano"
    device: str = "auto"
    seed: int = 0
    steps: int = 0
    tasks: tuple[str, ...] = ("depth", "normals", "semantic", "instance", "referring")
    semantic: Legend = field(default_factory=lambda: Legend(("floor", "wall", "table", "chair", "box", "ball")))
    instance: Legend = field(default_factory=lambda: Legend(("chair",)))
    referring: Legend = field(default_factory=lambda: Legend(("the nearest chair",)))
    picture: str = ""
    min_range: float = 0.1
    max_range: float = 30.0
    stride: int = 1

    def requests(self) -> list[Request]:
        """What every frame is asked, colours parsed and checked; raises RequestError."""
        requests = []
        for task in self.tasks:
            if task not in TASKS:
                raise RequestError(f"unknown task {task!r}: use one of {', '.join(TASKS)}")
            if task == "instance":
                if not self.instance.names:
                    raise RequestError("task 'instance' needs at least one class; set instance.classes")
                requests += [make_request(task, [name], background=self.instance.background or None)
                             for name in self.instance.names]
            elif task in ("semantic", "referring"):
                legend: Legend = getattr(self, task)
                requests.append(make_request(task, legend.names, legend.colors, legend.background or None))
            else:
                requests.append(make_request(task, text=self.picture))
        if not requests:
            raise RequestError(f"no task asked for; choose from {', '.join(TASKS)}")
        return requests


def read_params(path: Path) -> Params:
    """Params from a ROS parameter file: `ros__parameters` under `/**` or the node's name, in any namespace.

    The node's own values win over those of `/**`. Raises RequestError for a file that is missing or broken, an
    unknown name or a value of the wrong type or out of range.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RequestError(f"no parameter file {str(path)!r}; name one, or leave --params-file out") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RequestError(f"{str(path)!r} is not a parameter file: {' '.join(str(error).split())}") from None
    sections = _sections(document)
    if not sections:
        raise RequestError(f"{str(path)!r} has no 'ros__parameters' under '/**' or '{NODE}', as in "
                           "config/perception.yaml")
    values: dict[str, Any] = {}
    for section in sections:
        values |= _flat(section)
    return with_values(Params(), values, str(path))


def _sections(document: Any) -> list[Mapping[str, Any]]:
    """The `ros__parameters` that are meant for our node, those of `/**` first."""
    nodes = document if isinstance(document, Mapping) else {}
    ours = [nodes[name] for own in ("**", NODE) for name in nodes if str(name).rpartition("/")[2] == own]
    found = [section["ros__parameters"] for section in ours
             if isinstance(section, Mapping) and "ros__parameters" in section]
    return [section or {} for section in found if section is None or isinstance(section, Mapping)]


def with_values(params: Params, values: Mapping[str, Any], source: str = "parameters") -> Params:
    """Params with dotted names replaced, as in `{"seed": 3, "semantic.classes": ["mug"]}`.

    Raises RequestError for an unknown name or a value of the wrong type or out of range; source says whose.
    """
    for name, value in values.items():
        head, _, tail = name.partition(".")
        if name in _PLAIN:
            params = replace(params, **{name: _as(_PLAIN[name], value, name, source)})
        elif head in _WORDS and tail in ("colors", "background", _WORDS[head]):
            part = "names" if tail == _WORDS[head] else tail
            kind = str if part == "background" else tuple
            params = replace(params, **{head: replace(getattr(params, head), **{part: _as(kind, value, name, source)})})
        elif head not in NODE_ONLY:
            near = difflib.get_close_matches(name, NAMES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "config/perception.yaml lists them all"
            raise RequestError(f"{source}: unknown parameter {name!r}; {hint}")
    return _in_range(params, source)


def _in_range(params: Params, source: str) -> Params:
    for name, least in (("seed", 0), ("steps", 0), ("stride", 1), ("min_range", 0)):
        if not getattr(params, name) >= least:
            raise RequestError(f"{source}: {name} must be {least} or more, not {getattr(params, name)}")
    if not params.max_range > params.min_range or math.isinf(params.min_range):
        raise RequestError(f"{source}: max_range must be above min_range ({params.min_range}), not {params.max_range}")
    return params


_WORDS = {"semantic": "classes", "instance": "classes", "referring": "expressions"}
_PLAIN = {f.name: {"int": int, "float": float, "str": str}.get(f.type, tuple)
          for f in fields(Params) if f.name not in _WORDS}
# Every name that a parameter file may use.
NAMES = (*_PLAIN, *(f"{task}.{part}" for task, words in _WORDS.items() for part in (words, "colors", "background")))
# Parameters of the live node that mean nothing to a file or a bag.
NODE_ONLY = ("use_sim_time", "autostart", "qos_overrides", "start_type_description_service")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _as(kind: type, value: Any, name: str, source: str) -> Any:
    """The value as its parameter's type; ROS's own strictness, but an integer is a fine float."""
    if kind is tuple and isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind in (int, str) and isinstance(value, kind) and not isinstance(value, bool):
        return value
    wanted = {tuple: "a list of strings", float: "a number", int: "a whole number", str: "a string"}[kind]
    raise RequestError(f"{source}: {name} must be {wanted}, not {value!r}")
