"""`vbanana bench`: every stage of the pipeline at 640x480 on one core, against its peer, as ratios in one run."""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from vbanana_ros.camera import Camera
from vbanana_ros.cloud import make_cloud
from vbanana_ros.errors import InputError
from vbanana_ros.files import write_bytes
from vbanana_ros.generators.load import load_generator
from vbanana_ros.lines import lines_of
from vbanana_ros.manhattan import squared
from vbanana_ros.messages import messages, offline
from vbanana_ros.perception import Answer, Frame, Perceived, Perception
from vbanana_ros.places import places_alike
from vbanana_ros.results import UNLABELED_16, DepthMap, Detection, Instances, LabelMap, NormalMap, Result
from vbanana_ros.tasks import TASKS, Request, make_request

HEIGHT, WIDTH = 480, 640
PAINTED = 224, 288  # as nano paints it
DEMO = Path(__file__).resolve().parent / "demo"


@dataclass(frozen=True)
class Figure:
    """One row: what was timed, its median (ms unless unit says otherwise), the peer's, their ratio, the goal."""

    what: str
    value: float
    unit: str = "ms"
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None


def run(model: str = "nano", json_path: Path | None = None, ros: bool = False) -> list[Figure]:
    """Measure everything, or with ros the live node alone; print the table, write it as JSON where asked."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    figures = _ros(model) if ros else _offline(model)
    _print(figures)
    if json_path:
        write_bytes(json_path, (json.dumps([asdict(f) for f in figures], indent=2) + "\n").encode())
    return figures


def _ros(model: str) -> list[Figure]:
    try:
        from vbanana_ros.bench_ros import node_figures
    except ModuleNotFoundError as error:
        raise InputError(f"bench --ros needs a sourced ROS 2 and this package built in it (no module {error.name!r}); "
                         "see the README, Robots") from None
    return node_figures(model)


def _offline(model: str) -> list[Figure]:
    frame, requests, painted = example()
    figures = [depth_figure(painted[0], requests[0]), *cloud_figures(frame, requests, painted),
               frame_figure(frame, requests, painted), edges_figure(frame, requests, painted),
               squared_figure(model), *nano_figures(model, frame, requests), *bag_figures(model)]
    figures.append(Figure("peak memory of this process", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                          "MiB"))
    return figures


def example(height: int = HEIGHT, width: int = WIDTH) -> tuple[Frame, list[Request], list[np.ndarray]]:
    """A made-up scene: a floor, a wall and twelve balls, painted for five tasks with a generator's noise."""
    rng = np.random.default_rng(0)
    camera = Camera.from_fov(width, height, 60.0)
    rays = camera.rays()
    depth = np.minimum(1.2 / np.maximum(rays[..., 1], 1e-3), 6.0).astype(np.float32)
    normals = np.where((depth < 6)[..., None], np.float32([0, -1, 0]), np.float32([0, 0, -1])).astype(np.float32)
    labels = np.where(depth < 6, 0, 1).astype(np.uint8)
    instances = np.full((height, width), UNLABELED_16, np.uint16)
    detections = []
    for i in range(12):
        x, y, radius = (int(v) for v in (60 + 48 * i, rng.integers(150, 400), rng.integers(18, 40)))
        mask = cv2.circle(np.zeros((height, width), np.uint8), (x, y), radius, 1, -1).astype(bool)
        depth[mask], labels[mask], instances[mask] = 1 + 0.2 * i, 2, i
        detections.append(Detection(i, "ball", 1.0, (x - radius, y - radius, 2 * radius, 2 * radius), int(mask.sum()),
                                    tuple(int(c) for c in rng.integers(60, 256, 3))))
    sure = np.ones((height, width), np.float32)
    requests = [make_request("depth"), make_request("normals"),
                make_request("semantic", ["floor", "wall", "ball", "table", "chair", "box", "mug", "bowl"]),
                make_request("instance", ["ball"]),
                make_request("referring", ["the leftmost ball", "the farthest ball", "the wall"])]
    truth = [DepthMap(depth, sure), NormalMap(normals, sure), LabelMap(labels, (), (), sure),
             Instances(instances, tuple(detections), sure), LabelMap(labels, (), (), sure)]
    painted = [np.asarray(TASKS[q.task].encode(t, q)) for q, t in zip(requests, truth, strict=True)]
    painted = [(p + rng.normal(0, 0.004, p.shape)).clip(0, 1).astype(np.float32) for p in painted]
    rgb = rng.integers(0, 256, (height, width, 3), np.uint8)
    return Frame(rgb, 1_000_000_000, "camera", camera), requests, painted


def depth_figure(painted: np.ndarray, request: Request) -> Figure:
    """Our depth decode against hilbertmap's, the independent implementation on PyPI."""
    import hilbertmap

    ours, peer, ratio = paired(lambda: TASKS["depth"].decode(painted, request),
                               lambda: hilbertmap.rgb_to_depth(painted), 15)
    return Figure("depth decode", ours, peer="hilbertmap.rgb_to_depth", peer_value=peer, ratio=1 / ratio,
                  goal=">= 30x faster", met=1 / ratio >= 30)


def cloud_figures(frame: Frame, requests: list[Request], painted: list[np.ndarray]) -> list[Figure]:
    """Our organised clouds against Open3D's point cloud of the same frame."""
    import open3d

    depth, normals, labels, instances = (
        TASKS[q.task].decode(p, q) for q, p in zip(requests[:4], painted[:4], strict=True))
    K = frame.camera.intrinsics
    intrinsic = open3d.camera.PinholeCameraIntrinsic(WIDTH, HEIGHT, K[0, 0], K[1, 1], K[0, 2], K[1, 2])
    rgbd = open3d.geometry.RGBDImage.create_from_color_and_depth(
        open3d.geometry.Image(frame.rgb), open3d.geometry.Image(np.nan_to_num(depth.depth)), depth_scale=1.0,
        depth_trunc=1e3, convert_rgb_to_intensity=False)

    def peer():
        return open3d.geometry.PointCloud.create_from_rgbd_image(rgbd, intrinsic, project_valid_depth_only=False)

    name = "Open3D create_from_rgbd_image"
    ours, theirs, ratio = paired(lambda: make_cloud(depth.depth, frame.camera, frame.rgb), peer, 25)
    small = Figure("organised cloud: xyz, rgb", ours, peer=name, peer_value=theirs, ratio=ratio,
                   goal="<= 1x its time", met=ratio <= 1)
    ours, theirs, ratio = paired(lambda: make_cloud(depth.depth, frame.camera, frame.rgb, normals.normals,
                                                    labels.labels, instances.labels), peer, 25)
    return [small, Figure("organised cloud: xyz, rgb, normals, labels, instances", ours, peer=name,
                          peer_value=theirs, ratio=ratio, goal="<= 2x its time", met=ratio <= 2)]


def frame_figure(frame: Frame, requests: list[Request], painted: list[np.ndarray]) -> Figure:
    """All decodes and all messages of a five-task frame, clouds included."""
    def decode_and_build():
        answers = tuple(Answer(q, "", TASKS[q.task].decode(p, q), p) for q, p in zip(requests, painted, strict=True))
        return messages(Perceived(frame, answers), offline)

    ms = median(decode_and_build, 15)
    return Figure("all decodes and messages of a five-task frame", ms, goal="<= 60 ms", met=ms <= 60)


def edges_figure(frame: Frame, requests: list[Request], painted: list[np.ndarray]) -> Figure:
    """Five answers from a generator's grid to the frame, along its edges, against nearest neighbour."""
    small = [TASKS[q.task].decode(p, q).resize(*PAINTED) for q, p in zip(requests, painted, strict=True)]

    def along_edges() -> list[Result]:
        places = places_alike(frame.rgb, *PAINTED)
        return [result.resize(HEIGHT, WIDTH, places) for result in small]

    ours, nearest, ratio = paired(along_edges, lambda: [result.resize(HEIGHT, WIDTH) for result in small], 15)
    return Figure(f"five answers of {PAINTED[1]}x{PAINTED[0]} brought to the frame, along its edges", ours,
                  peer="nearest neighbour", peer_value=nearest, ratio=ratio)


def demo_frame() -> Frame:
    """The first of the demo, 640x480: what depends on what an image shows is timed with it, `example`'s is noise."""
    from vbanana_ros.bags import read_frames

    return next(read_frames(DEMO / "bag")).frame


def squared_figure(model: str) -> Figure:
    """Depth and normals of the demo's first frame, on the generator's grid, squared with its lines; these are found."""
    frame = demo_frame()
    answers = Perception(load_generator(model, "cpu"), [make_request("depth"), make_request("normals")])(frame).answers
    painted = [a.task.decode(a.painted, a.request) for a in answers]
    height, width = answers[0].painted.shape[:2]

    def squares() -> list[Result]:
        lines = lines_of(frame.rgb, frame.camera.rays())
        return [squared(result, lines, frame.camera.rays((height, width))) for result in painted]

    return Figure(f"depth and normals of {width}x{height} squared with the lines of a frame", median(squares, 15))


def nano_figures(model: str, frame: Frame, requests: list[Request]) -> list[Figure]:
    """The generator on one core, for one task and for five."""
    generator = load_generator(model, "cpu")
    one, five = Perception(generator, requests[:1]), Perception(generator, requests)

    def paint(perception: Perception) -> Callable[[], np.ndarray]:
        prompts = generator.encode_prompts(perception.prompts)
        return lambda: generator.generate(generator.encode_image(frame.rgb), prompts)

    five_ms, one_ms, ratio = paired(paint(five), paint(one), 9)
    return [Figure(f"{generator.name}, one task", one_ms),
            Figure(f"{generator.name}, five tasks", five_ms, peer="one task", peer_value=one_ms, ratio=ratio,
                   goal="<= 3.5x one task", met=ratio <= 3.5)]


def bag_figures(model: str) -> list[Figure]:
    """The whole way of the shipped bag, five tasks a frame, compression and writing included."""
    from vbanana_ros.bags import process_bag
    from vbanana_ros.params import read_params

    params = read_params(DEMO / "perception.yaml")
    perception = Perception(load_generator(model, "cpu"), params.requests())
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        report = process_bag(DEMO / "bag", Path(folder) / "out", perception)
        seconds = time.perf_counter() - start
        size = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
    return [Figure("bag throughput, five tasks", report.frames / seconds, "frames/s"),
            Figure("perception bag, a frame", size / report.frames / 2**20, "MiB")]


def paired(ours: Callable, peer: Callable, rounds: int) -> tuple[float, float, float]:
    """Median ms of each and median of the ratio ours/peer, timed in turn so that the machine's drift cancels."""
    ours(), peer()
    times = np.array([(_time(ours), _time(peer)) for _ in range(rounds)])
    return float(np.median(times[:, 0])), float(np.median(times[:, 1])), float(np.median(times[:, 0] / times[:, 1]))


def median(function: Callable, rounds: int) -> float:
    """Median ms over some rounds, after one that does not count."""
    function()
    return float(np.median([_time(function) for _ in range(rounds)]))


def _time(function: Callable) -> float:
    start = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - start)


def _print(figures: list[Figure]) -> None:
    table = Table("stage", "median", "peer", "its median", "ratio", "goal", "",
                  title="640x480 where no size is said, one CPU core")
    for f in figures:
        table.add_row(
            f.what, f"{f.value:.2f} {f.unit}", f.peer, "" if f.peer_value is None else f"{f.peer_value:.2f} {f.unit}",
            "" if f.ratio is None else f"{f.ratio:.2f}x", f.goal, {True: "met", False: "missed", None: ""}[f.met])
    Console(width=140).print(table)
