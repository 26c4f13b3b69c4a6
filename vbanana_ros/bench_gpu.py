"""`vbanana bench --gpu`: FLUX.2 klein with random weights, ours against the stock pipelines on the same weights.

How fast a model is depends on its shape and not on its weights: none are downloaded. Without a GPU the same runs on
the CPU with a small model of the same proportions, which gives ratios and no frame rates.

Every parameter of speed is measured as the product sets it: a pipeline of its own with the same weights, `install`, a
generator. What a machine cannot do is a row that says why.
"""

from __future__ import annotations

import copy
import gc
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinKVPipeline,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
)
from diffusers.utils import logging as diffusers_logging
from PIL import Image
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from vbanana_ros.bench import example
from vbanana_ros.errors import ModelError, one_line
from vbanana_ros.files import write_bytes
from vbanana_ros.generators.assemble import silence
from vbanana_ros.generators.base import Generator
from vbanana_ros.generators.flux2 import (
    MAX_LENGTH,
    KleinGenerator,
    KleinKVGenerator,
    KleinKVPainter,
    KleinPainter,
    Prompts,
)
from vbanana_ros.generators.load import load_generator
from vbanana_ros.generators.profile import Profile
from vbanana_ros.generators.speed import AUTO, DTYPES, Speed, install
from vbanana_ros.perception import Frame, Perception
from vbanana_ros.tasks import TASKS, Request

# What Qwen3's own template puts around a prompt.
CHAT = ("{% for m in messages %}<|im_start|>user\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n")
STEPS = (1, 4)
# Measured with one task too; of the other ways, five tasks say enough.
WHOLE = (AUTO, Speed(compile="default"), Speed(compile="default", quantize="float8"))
# Those that a user of klein would try. What comes from the Hub is never downloaded, here neither.
BACKENDS = ("native", "_native_flash", "_native_cudnn", "flash", "_flash_3", "sage")


@dataclass(frozen=True)
class Scale:
    """A model's shape and a frame's, pixels. steps: that the ways to run it are measured at.

    rounds: how often each call is timed, the median counts; half as often each way of WHOLE, and the others once.
    """

    name: str
    size: tuple[int, int]
    transformer: dict[str, Any] = field(default_factory=dict)
    text: dict[str, Any] = field(default_factory=dict)
    vae: dict[str, Any] = field(default_factory=dict)
    rounds: int = 6
    steps: tuple[int, ...] = STEPS


# black-forest-labs/FLUX.2-klein-4B: its transformer, its text encoder Qwen3-4B; its VAE is diffusers' default.
FULL = Scale(
    "klein-4B", (480, 640),
    transformer=dict(num_layers=5, num_single_layers=20, num_attention_heads=24, joint_attention_dim=3 * 2560),
    text=dict(vocab_size=151936, hidden_size=2560, intermediate_size=9728, num_hidden_layers=36,
              num_attention_heads=32, num_key_value_heads=8, head_dim=128, tie_word_embeddings=True))
# The text encoder has the transformer's size, as in the real one, and the VAE its share of the work.
SMALL = Scale(
    "a small klein", (192, 256),
    transformer=dict(num_layers=1, num_single_layers=4, num_attention_heads=2, joint_attention_dim=3 * 112),
    text=dict(vocab_size=4096, hidden_size=112, intermediate_size=416, num_hidden_layers=36, num_attention_heads=4,
              num_key_value_heads=1, head_dim=32, tie_word_embeddings=True),
    vae=dict(block_out_channels=(16, 16, 32, 64), norm_num_groups=16), rounds=3, steps=(1,))
# The same with a transformer of 78 M, which dominates on a CPU too: what is compared with the stock calls there.
MIDDLE = Scale(
    "a middle klein", SMALL.size,
    transformer=SMALL.transformer | dict(num_attention_heads=7, joint_attention_dim=3 * 320),
    text=SMALL.text | dict(hidden_size=320, intermediate_size=1184, num_attention_heads=8, num_key_value_heads=2,
                           head_dim=64),
    vae=dict(block_out_channels=(24, 24, 48, 96), norm_num_groups=24), rounds=1)


@dataclass(frozen=True)
class Timed:
    """One row: a frame's median ms; the stock pipeline's for the same, and how many times ours goes into it.

    plain_ms, plain_ratio: the same of KV weights against the stock pipeline of ordinary ones, of the same shape.
    share: percent of the whole frame that the generator takes. memory: GPU's peak, GiB. tera: counted work, TFLOP.
    """

    what: str
    ms: float | None = None
    stock_ms: float | None = None
    ratio: float | None = None
    plain_ms: float | None = None
    plain_ratio: float | None = None
    share: float | None = None
    memory: float | None = None
    tera: float | None = None
    goal: str = ""
    met: bool | None = None


def run(json_path: Path | None = None, small: bool = False) -> list[Timed]:
    """Measure, print the table and write it as JSON where asked; `small` takes the small model on a GPU too."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)
    scale, compared = (SMALL, MIDDLE) if small or device == "cpu" else (FULL, FULL)
    with silence(diffusers_logging):
        rows = measured(scale, compared, device)
    _print(rows, title(scale, device))
    if json_path:
        record = {"about": title(scale, device), "rows": [asdict(row) for row in rows]}
        write_bytes(json_path, (json.dumps(record, indent=2) + "\n").encode())
    return rows


def title(scale: Scale, device: str) -> str:
    """What was run on what."""
    hardware = (torch.cuda.get_device_name() if device == "cuda"
                else f"no GPU here: the CPU, {torch.get_num_threads()} thread(s)")
    height, width = scale.size
    return f"random weights, {width}x{height}, on {hardware}; torch {torch.__version__}"


def measured(scale: Scale, compared: Scale, device: str) -> list[Timed]:
    """All rows: `compared` against the stock pipelines first, and then each way to run ours at `scale`."""
    nano, (frame, requests) = load_generator("nano", device), frame_of(scale)
    dtype = AUTO.torch_dtype(device)
    with torch.device(device):  # one for all pipelines of a scale: their prompts are embedded beforehand
        reader = make_pipeline(scale, dtype).text_encoder
        other = reader if compared is scale else make_pipeline(compared, dtype).text_encoder
    return [*tricks(compared, other, device, *frame_of(compared)), *modes(scale, reader, device, frame, requests),
            *(looked(Perception(nano, requests[:n]), frame, scale.rounds, device) for n in (1, len(requests))),
            *counted(prompts_of(requests))]


def make_pipeline(scale: Scale, dtype: torch.dtype = torch.float32,
                  text_encoder: Qwen3ForCausalLM | None = None) -> Flux2KleinPipeline:
    """FLUX.2 klein of the real classes with random weights, the same every time, on torch's default device."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    torch.manual_seed(0)
    try:
        transformer = Flux2Transformer2DModel(**{"guidance_embeds": False, "attention_head_dim": 128,
                                                 **scale.transformer})
        vae = AutoencoderKLFlux2(**scale.vae).float()
        if text_encoder is None:
            text_encoder = Qwen3ForCausalLM(Qwen3Config(**scale.text))
    finally:
        torch.set_default_dtype(before)
    for module in (transformer, text_encoder, vae):
        module.eval().requires_grad_(False)
    pipeline = Flux2KleinPipeline(FlowMatchEulerDiscreteScheduler(), vae, text_encoder, make_tokenizer(), transformer,
                                  is_distilled=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, mark or digit: about Qwen's count, without its vocabulary."""
    words = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(True)])
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", chat_template=CHAT)


def frame_of(scale: Scale) -> tuple[Frame, list[Request]]:
    """A frame of noise and five tasks."""
    frame, requests, _ = example()
    rgb = np.random.default_rng(0).integers(0, 256, (*scale.size, 3), np.uint8)
    return replace(frame, rgb=rgb, camera=frame.camera.resized(*scale.size)), requests


def prompts_of(requests: Sequence[Request]) -> list[str]:
    """What klein is asked."""
    return [TASKS[request.task].prompt(request) for request in requests]


def bucket(tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str]) -> int:
    """The least multiple of 32 tokens that every prompt fits."""
    chats = [tokenizer.apply_chat_template([{"role": "user", "content": p}], tokenize=False) for p in prompts]
    return 32 * -(-max(len(tokenizer(chat)["input_ids"]) for chat in chats) // 32)


@contextmanager
def installed(scale: Scale, text_encoder: Qwen3ForCausalLM, speed: Speed,
              device: str) -> Iterator[tuple[Flux2KleinPipeline, Speed]]:
    """A pipeline of its own, run as the product runs it, and with what; what that changed for others is undone after.

    Raises ModelError, and libraries raise of everything, for what this machine cannot do.
    """
    if device == "cpu" and speed.offload != "auto":
        raise ModelError("without a GPU no part can wait elsewhere")
    if device == "cpu" and speed.compile == "reduce-overhead":
        raise ModelError("CUDA graphs need a GPU")
    _free()  # what the way before left
    with torch.device(device):
        pipeline = make_pipeline(scale, speed.torch_dtype(device), text_encoder)
    try:
        yield pipeline, install(pipeline, speed, device)
    finally:
        pipeline.remove_all_hooks()
        torch.compiler.reset()


def _free() -> None:
    gc.collect()  # generators hold themselves, by their cache of prompts
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def wrapped(pipeline: Flux2KleinPipeline, scale: Scale, speed: Speed, device: str, kv: bool) -> KleinGenerator:
    """Our generator over these weights, with keys and values of the image kept or not."""
    profile = Profile(f"{scale.name}{'-kv' if kv else ''}", "flux2", tuple(TASKS), "Apache-2.0",
                      area=scale.size[0] * scale.size[1])
    if kv:
        pipeline = Flux2KleinKVPipeline(**pipeline.components)
    return (KleinKVGenerator if kv else KleinGenerator)(pipeline, profile, "0" * 64, speed, device)


def stock(ours: Flux2KleinPipeline, kv: bool, frame: Frame, prompts: Sequence[str], steps: int,
          embedded: bool = False) -> Callable[[], None]:
    """One call a prompt, as the stock pipeline is used; it encodes the image and, if not embedded once, the prompt.

    Its VAE is in the dtype of the rest, as it comes from a file: it does not run with any other.
    """
    parts = ours.components | {"vae": copy.deepcopy(ours.vae).to(ours.transformer.dtype)}
    pipeline = Flux2KleinKVPipeline(**parts) if kv else Flux2KleinPipeline(**parts, is_distilled=True)
    image = Image.fromarray(frame.rgb)
    height, width = frame.rgb.shape[:2]
    pipeline.set_progress_bar_config(disable=True)
    with torch.inference_mode():
        given = [{"prompt_embeds": pipeline.encode_prompt(p)[0]} if embedded else {"prompt": p} for p in prompts]
    # Both are distilled and take no guidance, but one has the parameter, and warns of its own default.
    without = {} if kv else {"guidance_scale": 1.0}

    def call() -> None:
        for one in given:
            pipeline(image=image, **one, **without, height=height, width=width, num_inference_steps=steps,
                     generator=torch.Generator().manual_seed(0), output_type="np")
    return call


def ours(generator: Generator, frame: Frame, prompts: Sequence[str], steps: int) -> Callable[[], None]:
    """The image encoded, all prompts painted about it in one batch; they are embedded beforehand, as in a stream."""
    embedded = generator.encode_prompts(prompts)
    return lambda: generator.generate(generator.encode_image(frame.rgb), embedded, steps)


def tricks(scale: Scale, text_encoder: Qwen3ForCausalLM, device: str, frame: Frame,
           requests: Sequence[Request]) -> list[Timed]:
    """Five tasks about a frame: five stock calls of as many steps, and what each of our ways is worth."""
    prompts = prompts_of(requests)
    calls: dict[tuple[int, bool, str], Callable[[], None]] = {}
    with installed(scale, text_encoder, AUTO, device) as (pipeline, speed):
        short = bucket(pipeline.tokenizer, prompts)
        best = f"ours, {short} tokens of text"
        for kv in (False, True):
            long, tuned = (wrapped(pipeline, scale, replace(speed, max_sequence_length=length), device, kv)
                           for length in (MAX_LENGTH, short))
            for steps in STEPS:
                calls |= {(steps, kv, "stock"): stock(pipeline, kv, frame, prompts, steps),
                          (steps, kv, "stock, prompts embedded once"):
                              stock(pipeline, kv, frame, prompts, steps, embedded=True),
                          (steps, kv, f"ours, {MAX_LENGTH} tokens of text"): ours(long, frame, prompts, steps),
                          (steps, kv, best): ours(tuned, frame, prompts, steps)}
        times = interleaved(calls, scale.rounds)
        name = f"{scale.name}, {parameters(pipeline.transformer)}"
    rows = []
    for (steps, kv, what), own in times.items():
        case = f"{name}{', KV' if kv else ''}, {len(prompts)} tasks, {steps} step(s): {what}"
        plain = times[steps, False, "stock"] if kv else None
        row = beside(Timed(case, float(np.median(own))), times[steps, kv, "stock"], plain, own)
        rows.append(replace(row, goal=">= 2.5x", met=row.ratio >= 2.5) if what == best else row)
    return rows


def parameters(module: torch.nn.Module) -> str:
    """How many weights it has."""
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.0f} M"


def beside(row: Timed, stock_ms: np.ndarray, plain_ms: np.ndarray | None, own: np.ndarray) -> Timed:
    """A row with the stock pipeline's times of the same, round by round, and of KV weights the plain pipeline's."""
    row = replace(row, stock_ms=float(np.median(stock_ms)), ratio=float(np.median(stock_ms / own)))
    if plain_ms is None:
        return row
    return replace(row, plain_ms=float(np.median(plain_ms)), plain_ratio=float(np.median(plain_ms / own)))


def ways(scale: Scale, short: int, device: str) -> tuple[Speed, ...]:
    """Every parameter of speed by itself, as far as it differs from auto; `max-autotune` would take too long.

    short: tokens that every prompt fits.
    """
    auto = AUTO.torch_dtype(device)
    return (*WHOLE, *(Speed(dtype=name) for name, dtype in DTYPES.items() if dtype != auto),
            Speed(compile="reduce-overhead"), Speed(quantize="int8"), Speed(quantize="float8"),
            *(Speed(attention=name) for name in BACKENDS), Speed(max_sequence_length=short),
            Speed(max_area=scale.size[0] * scale.size[1] // 2), Speed(offload="text"), Speed(offload="model"))


def described(speed: Speed) -> str:
    """What differs from auto, by the parameters' names."""
    own = ((parameter.name, getattr(speed, parameter.name)) for parameter in fields(Speed))
    return ", ".join(f"{name} {value}" for name, value in own if value != getattr(AUTO, name)) or "as it is"


def modes(scale: Scale, text_encoder: Qwen3ForCausalLM, device: str, frame: Frame,
          requests: Sequence[Request]) -> list[Timed]:
    """Ours in every way; the stock calls beside it as they are, timed once, beside ours as it is."""
    rows: list[Timed] = []
    stock_ms: dict[tuple[bool, int, int], float] = {}
    short = bucket(make_tokenizer(), prompts_of(requests))
    for speed in ways(scale, short, device):
        try:
            rows.extend(_way(scale, text_encoder, speed, device, frame, requests, stock_ms))
        except Exception as error:  # libraries raise of everything over what a machine cannot do
            rows.append(Timed(f"{described(speed)}: not here: {one_line(error)[:120]}"))
    return rows


def _way(scale: Scale, text_encoder: Qwen3ForCausalLM, speed: Speed, device: str, frame: Frame,
         requests: Sequence[Request], stock_ms: dict[tuple[bool, int, int], float]) -> Iterator[Timed]:
    """Rows of one way, as they come; as it is comes first and times the stock calls into stock_ms."""
    tasks, rounds = ((1, len(requests)), max(1, scale.rounds // 2)) if speed in WHOLE else ((len(requests),), 1)
    with installed(scale, text_encoder, speed, device) as (pipeline, used):
        for kv in (False, True):
            generator = wrapped(pipeline, scale, used, device, kv)
            for case in itertools.product((kv,), scale.steps, tasks):
                _, steps, n = case
                perception = Perception(generator, requests[:n], steps=steps)
                if speed == AUTO:
                    call = stock(pipeline, kv, frame, perception.prompts, steps)
                    stock_ms[case] = float(np.median(interleaved({"": call}, rounds)[""]))
                row = looked(perception, frame, rounds, device)
                row = beside(row, stock_ms[case], stock_ms[False, steps, n] if kv else None, row.ms)
                yield replace(row, what=f"{row.what}, {described(speed)}")


def looked(perception: Perception, frame: Frame, rounds: int, device: str) -> Timed:
    """A whole frame, numbers and all; the first does not count: it warms up, and compiles."""
    perception(frame)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    looks = []
    for _ in range(rounds):
        start = time.perf_counter()
        timings = perception(frame).timings
        whole = 1e3 * (time.perf_counter() - start)
        looks.append((whole, 100 * (timings["encode"] + timings["generate"]) / whole))
    ms, share = np.median(looks, 0).tolist()
    return Timed(f"{perception.generator.name}, {len(perception.requests)} task(s), {perception.steps} step(s)", ms,
                 share=share, memory=torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None,
                 goal=">= 95 % in the generator", met=share >= 95)


def counted(prompts: Sequence[str]) -> list[Timed]:
    """The work of a frame of the real size, counted on shapes alone: the same on every machine, and in no time."""
    rows, n = [], len(prompts)
    with torch.device("meta"), torch.inference_mode():
        pipeline = make_pipeline(FULL, torch.bfloat16)
        words, mask = torch.zeros(1, MAX_LENGTH, dtype=torch.long), {"full_attention": None}
        text = tera(lambda: pipeline.text_encoder(words, attention_mask=mask, use_cache=False))
        for name, painter in (("klein-4B", KleinPainter(pipeline)),
                              ("klein-4B-kv", KleinKVPainter(Flux2KleinKVPipeline(**pipeline.components)))):
            rgb = torch.zeros(1, 3, *FULL.size)
            image, (tokens, ids) = painter.encode(rgb), painter.noise(FULL.size, 0)
            encode, decode = tera(lambda: painter.encode(rgb)), tera(lambda: painter.decode(tokens, FULL.size))  # noqa: B023
            stock_step = _step(painter, tokens, ids, image, 1, MAX_LENGTH)
            own_steps = {length: _step(painter, tokens, ids, image, n, length)
                         for length in (MAX_LENGTH, bucket(pipeline.tokenizer, prompts))}
            for steps, (length, step) in itertools.product(STEPS, own_steps.items()):
                theirs = n * (text + encode + steps * stock_step + decode)
                own = encode + steps * step + n * decode
                rows.append(Timed(f"counted: {name}, {FULL.size[1]}x{FULL.size[0]}, {n} tasks, {steps} step(s), "
                                  f"{length} tokens of text", ratio=theirs / own, tera=own))
    return rows


def _step(painter: KleinPainter, tokens: torch.Tensor, ids: torch.Tensor, image: Any, n: int, length: int) -> float:
    """Work of one pass of the transformer over n rows about one image, with so many tokens of text each."""
    width = painter.pipeline.transformer.config.joint_attention_dim
    words = Prompts(torch.zeros(n, length, width), torch.zeros(n, length, 4))
    image = image.select(torch.zeros(n, dtype=torch.long))
    return tera(lambda: painter.velocity(tokens.expand(n, -1, -1), ids.expand(n, -1, -1), torch.zeros(n), words, image))


def tera(function: Callable[[], Any]) -> float:
    """Counted work, TFLOP: two for a multiplication with its addition."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() / 1e12


def interleaved(calls: dict[Any, Callable[[], None]], rounds: int) -> dict[Any, np.ndarray]:
    """Milliseconds of each call, round by round, timed in turn so that the machine's drift cancels."""
    times = [[_ms(call) for call in calls.values()] for _ in range(rounds)]
    return dict(zip(calls, np.array(times).T, strict=True))


def _ms(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()  # ends with pixels in the CPU's memory, so that nothing is left on the GPU
    return 1e3 * (time.perf_counter() - start)


def _print(rows: Sequence[Timed], head: str) -> None:
    table = Table("what", "ms a frame", "frames/s", "stock, ms", "ratio", "plain stock, ms", "ratio", "generator",
                  "GPU, GiB", "TFLOP", "goal", "", title=head)
    for r in rows:
        cells = ((r.ms, "{:.0f}"), (r.ms and 1e3 / r.ms, "{:.2f}"), (r.stock_ms, "{:.0f}"), (r.ratio, "{:.2f}x"),
                 (r.plain_ms, "{:.0f}"), (r.plain_ratio, "{:.2f}x"), (r.share, "{:.1f} %"), (r.memory, "{:.1f}"),
                 (r.tera, "{:.0f}"))
        table.add_row(r.what, *("" if value is None else form.format(value) for value, form in cells), r.goal,
                      {True: "met", False: "missed", None: ""}[r.met])
    Console(width=210).print(table)
