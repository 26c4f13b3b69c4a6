"""What the user asks for, from a ROS parameter file and from flags: one form for the command and the node."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from vbanana_ros.errors import RequestError
from vbanana_ros.generators.speed import Speed
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
    floor_frame: a frame of tf that lies on the floor, z up, by which metric depth is scaled; empty: none.
    steps: denoising steps, 0 for the model's own. votes: as of Perception.
    depth_smoothing (`depth.smoothing`): seconds, see `steady`; 0 for none. min_range, max_range: metres, of the cloud;
    stride: pixels. dtype to max_area: see `generators.speed.Speed`.
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
    floor_frame: str = ""
    votes: int = 1
    depth_smoothing: float = 0.0
    min_range: float = 0.1
    max_range: float = 30.0
    stride: int = 2
    dtype: str = "auto"
    compile: str = "none"
    quantize: str = "none"
    attention: str = "auto"
    offload: str = "auto"
    max_sequence_length: int = 0
    max_area: int = 0

    def speed(self) -> Speed:
        """How the model is run; raises RequestError for an unknown word."""
        return Speed(**{f.name: getattr(self, f.name) for f in fields(Speed)})

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
            params = replace(params, **{_field(name): _as(_PLAIN[name], value, name, source)})
        elif head in _WORDS and tail in _parts(head):
            part = "names" if tail == _WORDS[head] else tail
            kind = str if part == "background" else tuple
            params = replace(params, **{head: replace(getattr(params, head), **{part: _as(kind, value, name, source)})})
        elif head not in NODE_ONLY:
            near = difflib.get_close_matches(name, NAMES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "config/perception.yaml lists them all"
            raise RequestError(f"{source}: unknown parameter {name!r}; {hint}")
    return _in_range(params, source)


def _in_range(params: Params, source: str) -> Params:
    for name in RANGES:
        if hasattr(params, _field(name)):
            _check_range(name, getattr(params, _field(name)), source)
    try:
        params.speed()
    except RequestError as error:
        raise RequestError(f"{source}: {error}") from None
    if not params.max_range > params.min_range or math.isinf(params.min_range):
        raise RequestError(f"{source}: max_range must be above min_range ({params.min_range}), not {params.max_range}")
    return params


def _check_range(name: str, value: float, source: str) -> None:
    least, most = RANGES[name]
    if not least <= value <= most:
        limits = f"{least} to {most}" if value > most else f"{least} or more"
        raise RequestError(f"{source}: {name} must be {limits}, not {value}")


@dataclass(frozen=True)
class Live:
    """Parameters that only the node has.

    autostart: configure and activate without being told to. cameras: their names, each with its topics in a
    namespace of that name; none: one camera, without. image_transport: raw or compressed. max_rate: results a second
    of each task, at most; 0: of every frame.
    """

    autostart: bool = True
    cameras: tuple[str, ...] = ()
    image_transport: str = "raw"
    max_rate: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(TASKS, 0.0))


def live(values: Mapping[str, Any], source: str = "parameters") -> Live:
    """The node's own parameters among dotted names; raises RequestError for a wrong type or value."""
    default = Live()
    rates = {task: _as(float, values.get(f"max_rate.{task}", 0.0), f"max_rate.{task}", source) for task in TASKS}
    for task, rate in rates.items():
        _check_range(f"max_rate.{task}", rate, source)
    cameras = _as(tuple, values.get("cameras", default.cameras), "cameras", source)
    for name in cameras:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or cameras.count(name) > 1:
            raise RequestError(f"{source}: cameras has {name!r}; give each camera one name of letters, digits and _")
    transport = values.get("image_transport", default.image_transport)
    if transport not in TRANSPORTS:
        raise RequestError(f"{source}: image_transport must be {' or '.join(TRANSPORTS)}, not {transport!r}")
    return Live(bool(values.get("autostart", default.autostart)), cameras, transport, rates)


def prompted(asked: Sequence[str], task: str, text: str = "", classes: Sequence[str] = (),
             colors: Sequence[str] = ()) -> dict[str, Any]:
    """A prompt (TaskPrompt.msg) as values of parameters; the task is added to those that are asked.

    Raises RequestError for an unknown task, or words that it has no use for.
    """
    if task not in TASKS:
        raise RequestError(f"unknown task {task!r}: use one of {', '.join(TASKS)}")
    useful = {"picture": ("text",), "instance": ("classes",), "semantic": ("classes", "colors"),
              "referring": ("classes", "colors")}.get(task, ())
    for name, given in (("text", text), ("classes", classes), ("colors", colors)):
        if given and name not in useful:
            raise RequestError(f"task {task!r} has no use for {name}; leave it empty")
    values: dict[str, Any] = {} if task in asked else {"tasks": [*asked, task]}
    if task == "picture":
        values["picture"] = text
    elif task in _WORDS:
        values[f"{task}.{_WORDS[task]}"] = list(classes)
    if "colors" in useful:
        values[f"{task}.colors"] = list(colors)
    return values


def defaults() -> dict[str, Any]:
    """Every parameter of the node by its dotted name, with its default."""
    params, own = Params(), Live()
    words = {f"{task}.{part}": getattr(getattr(params, task), "names" if part == word else part)
             for task, word in _WORDS.items() for part in _parts(task)}
    rates = {f"max_rate.{task}": rate for task, rate in own.max_rate.items()}
    return ({name: getattr(params, _field(name)) for name in _PLAIN} | words | rates
            | {name: getattr(own, name) for name in ("autostart", "cameras", "image_transport")})


def _field(name: str) -> str:
    """The field of Params that a parameter is, if it is one's alone."""
    return name.replace(".", "_")


def _parts(task: str) -> tuple[str, ...]:
    """Of a task with words; instances choose their own colours."""
    return (_WORDS[task], "background") if task == "instance" else (_WORDS[task], "colors", "background")


_WORDS = {"semantic": "classes", "instance": "classes", "referring": "expressions"}
_PLAIN = {f.name.replace("depth_", "depth."): {"int": int, "float": float, "str": str}.get(f.type, tuple)
          for f in fields(Params) if f.name not in _WORDS}
# Every name that a parameter file may use.
NAMES = (*_PLAIN, *(f"{task}.{part}" for task in _WORDS for part in _parts(task)))
# Parameters of the live node that mean nothing to a file or a bag.
NODE_ONLY = ("autostart", "cameras", "image_transport", "max_rate", "use_sim_time", "qos_overrides",
             "start_type_description_service")
TRANSPORTS = ("raw", "compressed")
# Least and most of each number, both allowed.
RANGES = {"seed": (0, 2**63 - 1), "steps": (0, 1000), "stride": (1, 32), "votes": (1, 64),
          "max_sequence_length": (0, 4096), "max_area": (0, 2**24),
          "depth.smoothing": (0, 60), "min_range": (0, math.inf),
          "max_range": (0, math.inf), **{f"max_rate.{task}": (0, 1000) for task in TASKS}}
# What the node says of each parameter. Those of FIXED are read in `configure` and cannot change after it.
FIXED = ("model", "device", "seed", "steps", "floor_frame", "autostart", "cameras", "image_transport",
         *(f.name for f in fields(Speed)))
DESCRIPTIONS = {
    "model": "A shipped model's name, or a model directory.",
    "device": "auto (a GPU where there is one), cpu, cuda or cuda:N.",
    "seed": "Of the noise that pictures start from.",
    "steps": "Denoising steps; 0: the model's own number.",
    "tasks": "Asked of every frame: depth, normals, semantic, instance, referring, picture.",
    "semantic.classes": "Any text, 1-255 classes.",
    "semantic.colors": "Words, '#80C000' or '(255, 165, 0)', one a class; empty: chosen for you.",
    "semantic.background": "Colour of what no class names; empty: chosen for you.",
    "instance.classes": "The classes whose objects are told apart; one inference for each.",
    "instance.background": "Colour of what is no instance; empty: black.",
    "referring.expressions": "Any text, 1-255 expressions, such as 'the nearest chair'.",
    "referring.colors": "One an expression; empty: chosen for you.",
    "referring.background": "Colour of what is not meant; empty: chosen for you.",
    "picture": "What task picture paints or edits.",
    "floor_frame": "A frame of tf on the floor, z up, such as base_footprint: metric depth is scaled to lie on it.",
    "votes": "Legends under which each semantic and referring request is asked, the majority counts; 1: its own. "
             "With more, depth and normals are the mean of the image and its mirror image.",
    "depth.smoothing": "Seconds, time constant of a low-pass of the scale of metric depth; 0: off.",
    "min_range": "Metres; nearer points of the cloud are NaN.",
    "max_range": "Metres; farther points of the cloud are NaN.",
    "stride": "Every n-th row and column in the cloud.",
    "dtype": "auto, float32, bfloat16 or float16; auto: float32 on a CPU, what suits the model on a GPU.",
    "compile": "none, default, reduce-overhead or max-autotune, as of torch.compile; takes minutes at configure.",
    "quantize": "none, float8 or int8, by torchao; evaluate the model anew with it.",
    "attention": "auto, or a backend of diffusers, such as flash or _native_cudnn.",
    "offload": "auto (by free GPU memory), none, text (the text encoder waits in CPU memory) or model (all parts do).",
    "max_sequence_length": "Tokens of a prompt, shorter ones are padded to it; 0: the model's own.",
    "max_area": "Pixels of a painted image, at most; 0: the model's own.",
    "autostart": "Configure and activate at start, without being told to.",
    "cameras": "Names; each camera's topics are in a namespace of its name. Empty: one camera, without.",
    "image_transport": "raw (topic image) or compressed (topic image/compressed).",
    **{f"max_rate.{task}": f"Results of {task} a second and camera, at most; 0: of every frame." for task in TASKS},
}


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
