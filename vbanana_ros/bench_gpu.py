"""`vbanana bench --gpu`: FLUX.2 klein with random weights, ours against the stock pipelines on the same weights.

How fast a model is depends on its shape and not on its weights: none are downloaded. Without a GPU the same runs on
the CPU with a small model of the same proportions, which gives ratios and no frame rates.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
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
from PIL import Image
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from vbanana_ros.bench import example
from vbanana_ros.errors import ModelError
from vbanana_ros.files import write_bytes
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
from vbanana_ros.generators.speed import AUTO, Speed, quantize
from vbanana_ros.perception import Frame, Perception
from vbanana_ros.tasks import TASKS, Request

# What Qwen3's own template puts around a prompt.
CHAT = ("{% for m in messages %}<|im_start|>user\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n")
STEPS = (1, 4)


@dataclass(frozen=True)
class Scale:
    """A model's shape and a frame's, pixels. rounds: how often each is timed; the median counts.

    steps: that the ways to run it are measured at.
    """

    name: str
    size: tuple[int, int]
    transformer: dict[str, Any] = field(default_factory=dict)
    text: dict[str, Any] = field(default_factory=dict)
    vae: dict[str, Any] = field(default_factory=dict)
    rounds: int = 9
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


@dataclass(frozen=True)
class Timed:
    """One row: a frame's median ms; the stock pipeline's for the same, and how many times ours goes into it.

    share: percent of the whole frame that the generator takes. memory: GPU's peak, GiB. tera: counted work, TFLOP.
    """

    what: str
    ms: float | None = None
    stock_ms: float | None = None
    ratio: float | None = None
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
    scale = SMALL if small or device == "cpu" else FULL
    rows = measured(scale, device)
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
    return f"{scale.name}, random weights, {width}x{height}, on {hardware}; torch {torch.__version__}"


def measured(scale: Scale, device: str) -> list[Timed]:
    """All rows, the pipelines against each other first and then each way to run ours."""
    torch.manual_seed(0)
    with torch.device(device):
        pipeline = make_pipeline(scale, AUTO.torch_dtype(device))
    frame, requests = frame_of(scale)
    prompts = [TASKS[request.task].prompt(request) for request in requests]
    nano = load_generator("nano", device)
    return [*tricks(scale, pipeline, device, frame, prompts), *modes(scale, pipeline, device, frame, requests),
            *(looked(Perception(nano, requests[:n]), frame, scale.rounds, device) for n in (1, len(requests))),
            *counted(prompts)]


def make_pipeline(scale: Scale, dtype: torch.dtype = torch.float32) -> Flux2KleinPipeline:
    """FLUX.2 klein of the real classes with random weights, on torch's default device."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        transformer = Flux2Transformer2DModel(**{"guidance_embeds": False, "attention_head_dim": 128,
                                                 **scale.transformer})
        text_encoder = Qwen3ForCausalLM(Qwen3Config(**scale.text))
        vae = AutoencoderKLFlux2(**scale.vae).float()
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


def bucket(pipeline: Flux2KleinPipeline, prompts: Sequence[str]) -> int:
    """The least multiple of 64 tokens that every prompt fits."""
    chats = [pipeline.tokenizer.apply_chat_template([{"role": "user", "content": p}], tokenize=False) for p in prompts]
    return 64 * -(-max(len(pipeline.tokenizer(chat)["input_ids"]) for chat in chats) // 64)


def wrapped(pipeline: Flux2KleinPipeline, scale: Scale, device: str, kv: bool, length: int = MAX_LENGTH,
            steps: int = 1) -> KleinGenerator:
    """Our generator over these weights, with keys and values of the image kept or not."""
    profile = Profile(f"{scale.name}{'-kv' if kv else ''}", "flux2", tuple(TASKS), "Apache-2.0",
                      area=scale.size[0] * scale.size[1], steps=steps)
    if kv:
        pipeline = Flux2KleinKVPipeline(**pipeline.components)
    return (KleinKVGenerator if kv else KleinGenerator)(pipeline, profile, "0" * 64,
                                                        Speed(max_sequence_length=length), device)


def stock(pipeline: Flux2KleinPipeline | Flux2KleinKVPipeline, frame: Frame, prompts: Sequence[str],
          steps: int, embedded: bool = False) -> Callable[[], None]:
    """One call a prompt, as the stock pipeline is used; it encodes the image and, if not embedded once, the prompt."""
    image = Image.fromarray(frame.rgb)
    height, width = frame.rgb.shape[:2]
    pipeline.set_progress_bar_config(disable=True)
    with torch.inference_mode():
        given = [{"prompt_embeds": pipeline.encode_prompt(p)[0]} if embedded else {"prompt": p} for p in prompts]
    # Both are distilled and take no guidance, but one has the parameter, and warns of its own default.
    without = {} if isinstance(pipeline, Flux2KleinKVPipeline) else {"guidance_scale": 1.0}

    def call() -> None:
        for one in given:
            pipeline(image=image, **one, **without, height=height, width=width, num_inference_steps=steps,
                     generator=torch.Generator().manual_seed(0), output_type="np")
    return call


def ours(generator: Generator, frame: Frame, prompts: Sequence[str], steps: int) -> Callable[[], None]:
    """The image encoded, all prompts painted about it in one batch; they are embedded beforehand, as in a stream."""
    embedded = generator.encode_prompts(prompts)
    return lambda: generator.generate(generator.encode_image(frame.rgb), embedded, steps)


def tricks(scale: Scale, pipeline: Flux2KleinPipeline, device: str, frame: Frame,
           prompts: Sequence[str]) -> list[Timed]:
    """Five tasks about a frame in four steps: five stock calls, and what each thing that we do otherwise is worth."""
    steps, short = STEPS[-1], bucket(pipeline, prompts)
    calls: dict[str, Callable[[], None]] = {}
    for name, kv in (("klein", False), ("klein-kv", True)):
        theirs = Flux2KleinKVPipeline(**pipeline.components) if kv else pipeline
        long, tuned = (ours(wrapped(pipeline, scale, device, kv, length), frame, prompts, steps)
                       for length in (MAX_LENGTH, short))
        calls |= {f"{name}: stock, {len(prompts)} calls": stock(theirs, frame, prompts, steps),
                  f"{name}: stock, prompts embedded once": stock(theirs, frame, prompts, steps, embedded=True),
                  f"{name}: ours, {MAX_LENGTH} tokens of text": long, f"{name}: ours, {short} tokens of text": tuned}
    times = interleaved(calls, scale.rounds)
    rows = []
    for name, own in times.items():
        whole = times[f"{name.partition(':')[0]}: stock, {len(prompts)} calls"]
        ratio, last = float(np.median(whole / own)), name.endswith(f"{short} tokens of text")
        rows.append(Timed(name, float(np.median(own)), float(np.median(whole)), ratio, goal=">= 2.5x" if last else "",
                          met=ratio >= 2.5 if last else None))
    return rows


def modes(scale: Scale, pipeline: Flux2KleinPipeline, device: str, frame: Frame,
          requests: Sequence[Request]) -> list[Timed]:
    """One task and all, one step and four: ours as it is and in every other way; the stock calls as they are."""
    rows, rounds = [], max(1, scale.rounds // 3)
    cases = list(itertools.product((False, True), scale.steps, (1, len(requests))))
    stock_ms: dict[tuple[bool, int, int], float] = {}
    short = bucket(pipeline, [TASKS[request.task].prompt(request) for request in requests])
    for mode, change in MODES.items():
        try:
            change(pipeline.transformer, device)
            torch.compiler.reset()
        except ModelError as error:
            rows.append(Timed(f"{mode}: {error}"))
            continue
        for kv, steps, n in cases:
            generator = wrapped(pipeline, scale, device, kv, short, steps)
            perception = Perception(generator, requests[:n], steps=steps)
            if (kv, steps, n) not in stock_ms:
                theirs = Flux2KleinKVPipeline(**pipeline.components) if kv else pipeline
                call = stock(theirs, frame, perception.prompts, steps)
                stock_ms[kv, steps, n] = float(np.median(interleaved({"": call}, rounds)[""]))
            whole, row = stock_ms[kv, steps, n], looked(perception, frame, rounds, device)
            rows.append(replace(row, what=f"{row.what}, {mode}", stock_ms=whole, ratio=whole / row.ms))
    return rows


# Each on top of the one before, but for the dtype of a CPU, which goes back.
MODES: dict[str, Callable[[torch.nn.Module, str], None]] = {
    "as it is": lambda transformer, device: None,
    # Of torch's own Module: diffusers' `to` warns of a cast that goes down.
    "bfloat16": lambda transformer, device: torch.nn.Module.to(transformer, torch.bfloat16),
    "compiled": lambda transformer, device: torch.nn.Module.to(
        transformer, AUTO.torch_dtype(device)).compile_repeated_blocks(fullgraph=True),
    "compiled, float8": lambda transformer, device: quantize(transformer, "float8", device)}


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
                         for length in (MAX_LENGTH, bucket(pipeline, prompts))}
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


def interleaved(calls: dict[str, Callable[[], None]], rounds: int) -> dict[str, np.ndarray]:
    """Milliseconds of each call, round by round, timed in turn so that the machine's drift cancels."""
    times = [[_ms(call) for call in calls.values()] for _ in range(rounds)]
    return dict(zip(calls, np.array(times).T, strict=True))


def _ms(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()  # ends with pixels in the CPU's memory, so that nothing is left on the GPU
    return 1e3 * (time.perf_counter() - start)


def _print(rows: Sequence[Timed], head: str) -> None:
    table = Table("what", "ms a frame", "frames/s", "stock, ms", "ratio", "generator", "GPU, GiB", "TFLOP", "goal", "",
                  title=head)
    for r in rows:
        cells = ((r.ms, "{:.0f}"), (r.ms and 1e3 / r.ms, "{:.2f}"), (r.stock_ms, "{:.0f}"), (r.ratio, "{:.2f}x"),
                 (r.share, "{:.1f} %"), (r.memory, "{:.1f}"), (r.tera, "{:.0f}"))
        table.add_row(r.what, *("" if value is None else form.format(value) for value, form in cells), r.goal,
                      {True: "met", False: "missed", None: ""}[r.met])
    Console(width=185).print(table)
