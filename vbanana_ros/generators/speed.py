"""How a generator is made fast and made to fit: what the user chose, and the rest by the memory there is."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from diffusers.models.attention_dispatch import attention_backend

from vbanana_ros.errors import ModelError, RequestError
from vbanana_ros.generators.precision import multiplies_bf16
from vbanana_ros.generators.profile import DENOISERS

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline, ModelMixin

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CHOICES = {"dtype": ("auto", *DTYPES), "compile": ("none", "default", "reduce-overhead", "max-autotune"),
           "quantize": ("none", "float8", "int8"), "offload": ("auto", "none", "text", "model")}
# What a five-task frame of 640x480 takes beside the weights: activations, the decoder's, keys and values of the image.
WORKING = 4 << 30


@dataclass(frozen=True)
class Speed:
    """The parameters of speed, named as the node's own. Raises RequestError for a word that is none of CHOICES.

    dtype: of weights and arithmetic; auto: float32 on a CPU, on a GPU the family's own (bfloat16, float16 on a GPU that
    lacks it). The VAE is in float32 anyhow: bfloat16 has no more than 8 bits between two shades.
    compile: mode of torch.compile for the denoiser's blocks; reduce-overhead and max-autotune record CUDA graphs.
    quantize: the denoiser's blocks to float8 (of bfloat16) or int8 by torchao; numbers decoded from such pictures want
    a new evaluation. attention: a backend of diffusers, auto for its default; UNets have none to choose.
    offload: none; text: the text encoders wait in the CPU's memory and change places with the denoiser for new prompts;
    model: every part waits there for its turn in each frame; auto: the first of these that fits the GPU.
    max_sequence_length: tokens of a prompt, shorter ones are padded to it; 0: the model's own. Of FLUX.2 and Kontext,
    where fewer are faster: CLIP always reads 77, and Qwen-Image as many as a prompt has.
    max_area: pixels of a painted image; 0: the model's own.
    `nano` takes dtype and max_area alone. What is set and cannot be done is a ModelError when the model is loaded.
    """

    dtype: str = "auto"
    compile: str = "none"
    quantize: str = "none"
    attention: str = "auto"
    offload: str = "auto"
    max_sequence_length: int = 0
    max_area: int = 0

    def __post_init__(self) -> None:
        for name, words in CHOICES.items():
            if (value := getattr(self, name)) not in words:
                raise RequestError(f"{name} must be one of {', '.join(words)}, not {value!r}")

    def torch_dtype(self, device: str) -> torch.dtype:
        """Of weights and arithmetic on this device."""
        if self.dtype != "auto":
            return DTYPES[self.dtype]
        if device == "cpu":
            return torch.float32
        return torch.bfloat16 if multiplies_bf16(torch.device(device)) else torch.float16

    def area(self, own: int) -> int:
        """Pixels of a painted image, at most, of a model that paints its own number of them."""
        return min(own, self.max_area or own)

    def refuse(self, family: str, *names: str) -> None:
        """Raise ModelError where one of these is set: the family has no such thing."""
        for name in names:
            if (value := getattr(self, name)) not in (default := getattr(AUTO, name), "none"):
                raise ModelError(f"family {family!r} has no {name} to choose, not {value!r}; set {name} to {default}")


AUTO = Speed()


def install(pipeline: DiffusionPipeline, speed: Speed, device: str, text_sees_image: bool = False) -> Speed:
    """Make a pipeline that was opened on the CPU run on a device as the user chose; returns with what, and logs it.

    text_sees_image: prompts are embedded with every frame. Raises ModelError for what this machine, or this kind of
    denoiser, cannot do.
    """
    pipeline.vae.float()
    denoiser, encoders = denoiser_of(pipeline), text_encoders_of(pipeline)
    text, rest = sum(map(size_of, encoders)), size_of(denoiser) + size_of(pipeline.vae)
    if speed.quantize != "none":
        rest -= size_of(denoiser) // 2
    speed = replace(speed, offload=offload(speed.offload, text, rest, free_memory(device)))
    if text_sees_image and speed.offload == "text":  # changing places every frame is what `model` does
        speed = replace(speed, offload="model")
    if speed.attention != "auto":
        set_attention(denoiser, speed.attention)
    quantize(denoiser, speed.quantize, device)
    if speed.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        for part in (denoiser, pipeline.vae):
            part.to(device)
        for encoder in encoders:
            encoder.to("cpu" if speed.offload == "text" else device)
    if speed.compile != "none":
        compile_blocks(denoiser, speed.compile)
    log.info("on %s in %s: compile %s, quantize %s, attention %s, offload %s", device,
             str(denoiser.dtype).removeprefix("torch."), speed.compile, speed.quantize, speed.attention, speed.offload)
    return speed


def denoiser_of(pipeline: DiffusionPipeline) -> ModelMixin:
    """The transformer or UNet."""
    return next(getattr(pipeline, name) for name in DENOISERS if hasattr(pipeline, name))


def text_encoders_of(pipeline: DiffusionPipeline) -> list[torch.nn.Module]:
    """What reads the prompts; some pipelines have several."""
    return [part for name, part in pipeline.components.items() if name.startswith("text_encoder")]


def offload(asked: str, text: int, rest: int, free: int | None) -> str:
    """Which parts wait in the CPU's memory. text, rest: bytes of the text encoder and of the others; free: bytes of
    the GPU, None on a CPU, where nothing can wait elsewhere."""
    if free is None:
        return "none"
    if asked != "auto":
        return asked
    if text + rest + WORKING <= free:
        return "none"
    return "text" if max(text, rest + WORKING) <= free else "model"


def free_memory(device: str) -> int | None:
    """Bytes of a GPU that nobody uses; None for the CPU."""
    return None if torch.device(device).type == "cpu" else torch.cuda.mem_get_info(device)[0]


def size_of(module: torch.nn.Module) -> int:
    """Bytes of a module's weights."""
    return sum(p.numel() * p.element_size() for p in module.parameters())


def quantize(denoiser: torch.nn.Module, kind: str, device: str) -> None:
    """Change the linear layers of a denoiser's transformer blocks in place; on a GPU each is moved there for it."""
    if kind == "none":
        return
    try:
        from torchao import quantization as ao
    except ImportError:
        raise ModelError(f"quantize: {kind} needs the package 'torchao'; pip install torchao, or set quantize to none"
                         ) from None
    configs: dict[str, Any] = {
        "int8": ao.Int8DynamicActivationInt8WeightConfig,
        # Arithmetic in float8 came with compute capability 8.9; before that the weights alone are in it.
        "float8": (lambda: ao.Float8DynamicActivationFloat8WeightConfig(granularity=ao.PerRow()))
        if device != "cpu" and torch.cuda.get_device_capability(device) >= (8, 9) else ao.Float8WeightOnlyConfig}
    ao.quantize_(denoiser, configs[kind](), device=None if device == "cpu" else device,
                 filter_fn=lambda module, name: isinstance(module, torch.nn.Linear) and "transformer_blocks." in name)


def compile_blocks(denoiser: ModelMixin, mode: str) -> None:
    """Compile the blocks that repeat when they are first run, with what varies from then on as a variable."""
    # One prompt or several, with an image or without, its keys read or written: a block comes in more kinds than the
    # 8 that torch compiles, and of a whole graph one more is an error.
    torch._dynamo.config.cache_size_limit = max(64, torch._dynamo.config.cache_size_limit)
    # Where blocks are CUDA graphs: what they returned for the call before may be overwritten.
    denoiser.register_forward_pre_hook(lambda *_: torch.compiler.cudagraph_mark_step_begin())
    denoiser.compile_repeated_blocks(mode=mode, fullgraph=True)


def set_attention(denoiser: ModelMixin, backend: str) -> None:
    """Raises ModelError for a backend that diffusers does not know, that would be downloaded, or lacks its package,
    and for a denoiser whose attention has one way only."""
    if not any(hasattr(getattr(part, "processor", None), "_attention_backend") for part in denoiser.modules()):
        raise ModelError(f"attention backend {backend!r} cannot be used: a {type(denoiser).__name__} has none to "
                         "choose; use auto")
    if backend.endswith("_hub"):
        raise ModelError(f"attention backend {backend!r} would be downloaded; name one of an installed package")
    try:
        with attention_backend(backend):  # which diffusers would leave as the default of every other model
            denoiser.set_attention_backend(backend)
    except (ValueError, RuntimeError, ImportError) as error:
        raise ModelError(f"attention backend {backend!r} cannot be used ({' '.join(str(error).split())[:160]}); "
                         "use auto") from None
