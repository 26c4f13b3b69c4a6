"""`vbanana`: pictures, bags, tuning, evaluation and benchmarks from the command line."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from vbanana_ros import __version__
from vbanana_ros.errors import InputError, VBananaError
from vbanana_ros.memory import keep_freed_memory

# What a command needs is imported when it runs: torch alone takes seconds, and `--help` needs none of it.
if TYPE_CHECKING:
    from vbanana_ros.params import Params
    from vbanana_ros.perception import Frame, Perceived, Perception

PICTURED = 6  # every so many frames of a bag are written as PNGs as well
DEFAULT_FOV = 60.0  # degrees, horizontal: a common RGB-D or laptop camera


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 when done, 2 with one line on standard error for what the user can mend."""
    arguments = _parser().parse_args(argv)
    keep_freed_memory()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # of two programs on one core, none spins
    logging.getLogger("vbanana_ros").addHandler(logging.NullHandler())  # what it says is in the reports
    said = logging.getLogger("vbanana_ros.generators")  # but how a model is run, and where memory ran out
    said.handlers = [_Said()]
    said.setLevel(logging.INFO)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # other libraries' advice to programmers
    try:
        arguments.command(arguments)
        return 0
    except VBananaError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        return _fail(f"this needs the Python module {error.name!r}; pip install 'vbanana_ros[sim,tune,bench]'")
    except ImportError as error:  # a module that is there but lacks a library of the system's
        return _fail(f"a Python module cannot be loaded: {error}; install what it names")
    except BrokenPipeError:  # as in `vbanana models | head`; what is left to flush has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(f"{error.filename or 'a file'}: {error.strerror or error}; check the path and the disk")
    except KeyboardInterrupt:
        return _fail("interrupted", 130)


class _Said(logging.Handler):
    """Log lines on standard error, as the command's own."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"vbanana: {record.getMessage()}", file=sys.stderr)


def _fail(text: str, code: int = 2) -> int:
    print("vbanana: " + " ".join(text.split()), file=sys.stderr)
    return code


def _run(args: argparse.Namespace) -> None:
    """Pictures; whatever can be wrong is found before the first file is written."""
    from vbanana_ros.report import Report, write_pngs

    params = _params(args)
    if not args.images:
        return _paint(args.out, params)
    frames = _frames(args)
    perception = _perception(params)
    report = Report(title="vbanana run")
    if "depth" in params.tasks and not perception.metric:
        print(f"model {perception.generator.name!r} paints relative depth: it is no metres, and there is no cloud")
    for path, frame in zip(args.images, frames, strict=True):
        perceived = _with_camera(perception(frame))
        write_pngs(args.out, perceived, frame.frame_id, params)
        report.add(perceived)
        print(f"{path}: {perceived.timings['encode'] + perceived.timings['generate']:.0f} ms in the generator")
    print(report.write(args.out / "report.html"))


def _paint(out: Path, params: Params) -> None:
    """A picture from text alone."""
    import cv2

    from vbanana_ros.files import write_bytes
    from vbanana_ros.generators.load import load_generator
    from vbanana_ros.tasks import dialect, make_request

    if not params.picture:
        raise InputError("no image given; name one, or paint from text alone with --picture 'a red ball on a table'")
    request = make_request("picture", text=params.picture)
    generator = load_generator(params.model, params.device, params.speed())
    task = dialect(generator.profile)["picture"]
    painted = generator.generate(None, generator.encode_prompts([task.prompt(request)]),
                                 steps=params.steps or generator.capabilities.picture_steps, seed=params.seed)
    rgb = (255 * task.decode(painted[0], request).rgb).round().astype("uint8")
    print(write_bytes(out / "picture.png", cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()))


def _frames(args: argparse.Namespace) -> list[Frame]:
    """The pictures and their camera, where it is told; of several pictures of one name the second is called NAME_2."""
    from vbanana_ros.camera import Camera
    from vbanana_ros.images import read_image
    from vbanana_ros.perception import Frame

    known = Camera.from_file(args.camera) if args.camera else None
    frames, used = [], Counter()
    for path in args.images:
        rgb = read_image(path)
        height, width = rgb.shape[:2]
        camera = known.resized(height, width) if known else args.fov and Camera.from_fov(width, height, args.fov)
        used[path.stem] += 1
        name = path.stem if used[path.stem] == 1 else f"{path.stem}_{used[path.stem]}"
        frames.append(Frame(rgb, frame_id=name, camera=camera))
    return frames


def _with_camera(perceived: Perceived) -> Perceived:
    """With a usual camera where none was told: a cloud needs one, but the model shall not take a guess for true."""
    from vbanana_ros.camera import Camera

    if perceived.frame.camera is not None:
        return perceived
    height, width = perceived.frame.rgb.shape[:2]
    return replace(perceived, frame=replace(perceived.frame, camera=Camera.from_fov(width, height, DEFAULT_FOV)))


def _bag(args: argparse.Namespace) -> None:
    if args.target.exists():  # before the model is loaded
        raise InputError(f"{args.target} exists; give another name or remove it")
    params = _params(args)
    _record(args, args.source, args.target, params, _perception(params))
    print(args.target)


def _demo(args: argparse.Namespace) -> None:
    """The shipped bag through the shipped model; of what lies there already only its earlier bag is replaced."""
    import shutil

    from vbanana_ros.report import Report, write_pngs

    here = Path(__file__).resolve().parent / "demo"
    args.params_file = args.params_file or here / "perception.yaml"
    params = _params(args)
    perception = _perception(params)
    report = Report(title="vbanana demo", shown=6)
    if not args.resume:
        for stale in ("perception_bag", "perception_bag.part"):
            shutil.rmtree(args.out / stale, ignore_errors=True)

    def keep(perceived: Perceived) -> None:
        if (index := report.add(perceived)) % PICTURED == 0:
            write_pngs(args.out / "frames", perceived, f"frame_{index:04d}", params)

    target = args.out / "perception_bag"
    report.failed.extend(_record(args, here / "bag", target, params, perception, keep))
    print(f"perception bag: {target}\nreport and PNGs:\n{report.write(args.out / 'report.html')}")


def _record(args: argparse.Namespace, source: Path, target: Path, params: Params,
            perception: Perception, see: Callable[[Perceived], None] | None = None) -> tuple[str, ...]:
    """A bag through perception into another bag; says how it went, and returns what was wrong with frames."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from vbanana_ros.bags import find_topics, process_bag

    topic = args.image_topic or _choose(list(find_topics(source).images))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
               TimeRemainingColumn())
    start = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True,
                  disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task(source.name, total=None, rate="")

        def show(done: int, total: int) -> None:
            rate = f"{done / (time.monotonic() - start):.1f} frames/s"
            progress.update(bar, completed=done, total=total, rate=rate)

        result = process_bag(
            source, target, perception, image_topic=topic, camera_info_topic=args.camera_info_topic,
            floor_frame=params.floor_frame, keep_input=args.keep_input, every=args.every, start=args.start,
            end=args.end, resume=args.resume, stride=params.stride, min_range=params.min_range,
            max_range=params.max_range, smoothing=params.depth_smoothing, progress=show, see=see)
    print(f"{result.frames} frames, {result.failed} failed, {result.without_cloud} without a cloud")
    for line in (*result.notes, *result.failures):
        print(f"  {line}")
    return result.failures


def _choose(topics: Sequence[str]) -> str | None:
    """Ask which image topic, where there are several and somebody to ask; None leaves it to the reader."""
    if len(topics) < 2 or not sys.stdin.isatty():
        return None
    for i, topic in enumerate(topics, 1):
        print(f"  {i}  {topic}")
    answer = input(f"which image topic? 1-{len(topics)} ")
    if not answer.isdigit() or not 1 <= int(answer) <= len(topics):
        raise InputError(f"{answer!r} is none of 1-{len(topics)}; name the topic with --image-topic")
    return topics[int(answer) - 1]


def _tune(args: argparse.Namespace) -> None:
    from dataclasses import fields

    from vbanana_ros.tuning.recipe import Recipe
    from vbanana_ros.tuning.tune import own_sizes, tune_model

    chosen = {f.name: getattr(args, f.name) for f in fields(Recipe) if getattr(args, f.name, None) is not None}
    recipe = Recipe(**own_sizes(args.start) | chosen)
    tune_model(args.out, recipe, args.steps, args.data, args.scenes, args.start, args.seed, args.mixture,
               args.save_every, args.check_every)
    print(args.out / "model")


def _evaluate(args: argparse.Namespace) -> None:
    from vbanana_ros.evaluation import run

    run(args.model, args.suite, args.data, args.split, args.count, args.batch, args.votes, args.align, args.floor,
        args.out, args.json, args.html, args.device, args.params_file)


def _bench(args: argparse.Namespace) -> None:
    if args.gpu:
        from vbanana_ros.bench_gpu import run as run_gpu

        return run_gpu(args.json, args.small)
    from vbanana_ros.bench import run

    run(args.model, args.json, args.ros)


def _models(args: argparse.Namespace) -> None:
    from vbanana_ros.generators.catalogue import print_models

    print_models()


def _perception(params: Params) -> Perception:
    """The requests are checked first: that takes no time, loading the model does."""
    from vbanana_ros.generators.load import load_generator
    from vbanana_ros.perception import Perception

    requests = params.requests()
    generator = load_generator(params.model, params.device, params.speed())
    return Perception(generator, requests, params.seed, params.steps or None, params.votes)


def _params(args: argparse.Namespace) -> Params:
    """The parameter file, then the flags that were given; words given as flags leave the file's colours behind."""
    from vbanana_ros.params import Params, read_params, with_values

    params = read_params(args.params_file) if args.params_file else Params()
    flags = {"model": args.model, "device": args.device, "seed": args.seed, "tasks": args.tasks,
             "semantic.classes": args.classes, "semantic.colors": args.colors, "semantic.background": args.background,
             "instance.classes": args.instances, "referring.expressions": args.expressions, "picture": args.picture,
             "stride": args.stride, "steps": args.steps, "votes": args.votes,
             "depth.smoothing": getattr(args, "smoothing", None)}
    if args.classes and not args.colors:
        flags["semantic.colors"] = []
    if args.expressions:
        flags["referring.colors"] = []
    return with_values(params, {k: v for k, v in flags.items() if v is not None}, "flags")


class _Parser(argparse.ArgumentParser):
    """One line for a wrong flag, as for everything else that the user can mend."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"vbanana: {message}; see '{self.prog} --help'\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="vbanana", description="One image generator as a robot's perception stack.")
    parser.add_argument("--version", action="version", version=f"vbanana {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = _command(commands, "run", _run, "pictures: PNGs, .npy, .ply and a report")
    run.add_argument("images", nargs="*", type=Path, metavar="IMAGE", help="none: paint --picture from text alone")
    run.add_argument("-o", "--out", type=Path, default=Path("out/run"), help="folder (default %(default)s)")
    lens = run.add_mutually_exclusive_group()
    lens.add_argument("--fov", type=_degrees, help=f"horizontal, degrees ({DEFAULT_FOV:g} for a cloud without)")
    lens.add_argument("--camera", type=Path, help="intrinsics: ROS calibration YAML, or JSON with fx, fy, cx, cy")
    _ask(run)

    bag = _command(commands, "bag", _bag, "a camera bag in, a perception bag out")
    bag.add_argument("source", type=Path, metavar="IN")
    bag.add_argument("target", type=Path, metavar="OUT")
    _stream(bag)
    _ask(bag)

    demo = _command(commands, "demo", _demo, "the shipped bag through the shipped model")
    demo.add_argument("-o", "--out", type=Path, default=Path("out/demo"), help="folder (default %(default)s)")
    _stream(demo)
    _ask(demo)

    tune = _command(commands, "tune", _tune, "teach a model to perceive; resumes from its checkpoint")
    tune.add_argument("--out", type=Path, required=True, help="checkpoint, losses, curves, samples, model directory")
    tune.add_argument("--data", type=Path, default=Path("out/scenes"), help="rendered scenes, drawn where missing")
    tune.add_argument("--mixture", type=Path, metavar="FILE", help="YAML of sets and shares, in place of scenes")
    tune.add_argument("--scenes", type=_count, default=3000, help="how many scenes, four views each")
    tune.add_argument("--steps", type=_count, default=6000)
    tune.add_argument("--start", metavar="MODEL", help="by name or directory (default: a new nano)")
    tune.add_argument("--seed", type=int, default=0)
    tune.add_argument("--save-every", type=_count, default=200, metavar="STEPS")
    tune.add_argument("--check-every", type=_count, default=1000, metavar="STEPS", help="score, samples, best model")
    recipe = tune.add_argument_group("recipe (defaults: those of nano)")
    recipe.add_argument("--size", type=_size, metavar="HxW", help="pixels (those of --start; 192x256)")
    recipe.add_argument("--images", type=_count, help="in a batch of each process (8)")
    recipe.add_argument("--answers", type=float, help="prompts about each image (1); of nano, also a share of 1")
    recipe.add_argument("--pictures", type=int, help="rows painted from noise in a batch (1)")
    recipe.add_argument("--picture-size", type=_size, metavar="HxW", help="from text, nano (those of --start; 96x128)")
    recipe.add_argument("--blank", type=float, metavar="SHARE", help="of nano's pictures, from noise alone (0.5)")
    recipe.add_argument("--freeze", choices=("image", "text"), help="of nano, what sees images, or knows text")
    recipe.add_argument("--most-classes", type=_count, help="in a legend (12)")
    recipe.add_argument("--target", choices=("x0", "flow"), help="one step, or several by flow matching (x0)")
    recipe.add_argument("--lora", type=_count, metavar="RANK", help="adapters on attention and MLP (none: all weights)")
    recipe.add_argument("--rate", type=float, help="peak learning rate (6e-4)")
    recipe.add_argument("--warmup", type=_count, metavar="STEPS", help="(200)")
    recipe.add_argument("--ema", type=float, metavar="DECAY", help="of the averaged weights (0.999)")
    recipe.add_argument("--log-depth", type=float, metavar="WEIGHT", help="of depth's relative error (0)")
    recipe.add_argument("--angle", type=float, metavar="WEIGHT", help="of normals' angles (0)")
    recipe.add_argument("--max-length", type=_count, metavar="TOKENS", help="of a prompt, for klein (512)")
    recipe.add_argument("--precision", choices=("auto", "bf16", "fp32"), help="(auto: bf16 where fast)")
    recipe.add_argument("--checkpointing", action="store_true", default=None, help="less memory, a third more time")
    recipe.add_argument("--overfit", type=_count, metavar="BATCHES", help="learn so many by heart, as a check")

    evaluate = _command(commands, "evaluate", _evaluate, "the paper's metrics on held-out scenes and real frames")
    evaluate.add_argument("--params-file", type=Path, help="of it the parameters of speed")
    evaluate.add_argument("--model", default="nano")
    evaluate.add_argument("--device", default="auto")
    evaluate.add_argument("--suite", default="all", metavar="NAME",
                          help="sim, real, all (both), steady, pictures, or a public set")
    evaluate.add_argument("--data", type=Path, help="folder of the set, or of real frames (default ../shared/data)")
    evaluate.add_argument("--split", default="val", help="of a public set (default %(default)s)")
    evaluate.add_argument("--count", type=_count, help="simulated scenes (default 500); records of a set (all)")
    evaluate.add_argument("--batch", type=_count, default=1, metavar="N", help="frames at once, if asked the same")
    evaluate.add_argument("--votes", type=_count, default=1, metavar="K",
                          help="legends of a request, majority counts; from 2 on depth and normals mirrored too")
    evaluate.add_argument("--align", action="store_true", help="depth also with scale and shift fitted to the truth")
    evaluate.add_argument("--floor", action="store_true", help="tell where the floor is, in simulated scenes and kitti")
    evaluate.add_argument("--out", type=Path, help="keep each frame's results here; the same command goes on")
    evaluate.add_argument("--json", type=Path, help="write the figures here as well")
    evaluate.add_argument("--html", type=Path, help="write a page with the best, median and worst frames")

    bench = _command(commands, "bench", _bench, "every stage against its peer, as ratios in one run")
    bench.add_argument("--model", default="nano")
    bench.add_argument("--json", type=Path, help="write the figures here as well")
    bench.add_argument("--ros", action="store_true", help="the live node instead; needs a sourced ROS 2")
    bench.add_argument("--gpu", action="store_true", help="FLUX.2 klein instead, random weights, beside diffusers' own")
    bench.add_argument("--small", action="store_true", help="with --gpu: a small klein, as without a GPU")

    _command(commands, "models", _models, "the models at hand, and those that can be fetched")
    return parser


def _command(commands, name: str, function: Callable, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    command.set_defaults(command=function)
    return command


def _ask(command: argparse.ArgumentParser) -> None:
    """Flags for what is asked; each overrides the parameter file."""
    group = command.add_argument_group("what is asked (flags override --params-file)")
    group.add_argument("--params-file", type=Path, help="ROS parameter file, as config/perception.yaml")
    group.add_argument("--model", help="a shipped model's name, or a model directory")
    group.add_argument("--device", help="auto, cpu, cuda or cuda:N")
    group.add_argument("--seed", type=int)
    group.add_argument("--steps", type=_count, help="denoising steps (default: the model's own)")
    group.add_argument("--tasks", nargs="+", metavar="TASK")
    group.add_argument("--classes", nargs="+", metavar="CLASS", help="for task semantic")
    group.add_argument("--colors", nargs="+", metavar="COLOR", help="one a class: words, '#80C000', '(255, 165, 0)'")
    group.add_argument("--background", metavar="COLOR", help="of what no class names")
    group.add_argument("--instances", nargs="+", metavar="CLASS", help="for task instance")
    group.add_argument("--expressions", nargs="+", metavar="TEXT", help="for task referring")
    group.add_argument("--picture", metavar="TEXT", help="for task picture")
    group.add_argument("--votes", type=_count, metavar="K",
                       help="legends of a request, the majority counts; from 2 on depth and normals mirrored too")
    group.add_argument("--stride", type=_count, help="every n-th row and column in the cloud")


def _stream(command: argparse.ArgumentParser) -> None:
    """Flags for which part of a bag."""
    command.add_argument("--image-topic", help="found by type where not named")
    command.add_argument("--camera-info-topic", help="found beside the image where not named")
    command.add_argument("--keep-input", action="store_true", help="copy the input's messages too")
    command.add_argument("--every", type=_count, default=1, metavar="N", help="every N-th frame")
    command.add_argument("--start", type=float, metavar="S", help="seconds from the bag's start")
    command.add_argument("--end", type=float, metavar="S", help="seconds from the bag's start")
    command.add_argument("--smoothing", type=float, metavar="S", help="seconds, low-pass of the scale of metric depth")
    command.add_argument("--resume", action="store_true", help="go on where an earlier run was killed")


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _degrees(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 180:
        raise argparse.ArgumentTypeError(f"{text!r} is not an angle between 0 and 180 degrees")
    return value


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(s.isdigit() and int(s) > 0 and int(s) % 32 == 0 for s in sides):
        raise argparse.ArgumentTypeError(f"{text!r} is not HxW in multiples of 32, such as 192x256")
    return int(sides[0]), int(sides[1])


if __name__ == "__main__":
    sys.exit(main())
