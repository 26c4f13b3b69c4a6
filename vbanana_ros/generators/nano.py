"""`nano`: the small generator that ships with the package, trained from scratch on simulated scenes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.utils import logging as diffusers_logging
from PIL import Image

from vbanana_ros.camera import frustum
from vbanana_ros.errors import InputError, ModelError
from vbanana_ros.generators.assemble import silence
from vbanana_ros.generators.base import Capabilities
from vbanana_ros.generators.grid import check_image, paint_rows, painted_size, pixels
from vbanana_ros.generators.nano_text import NanoTextEncoder, PromptTokens
from vbanana_ros.generators.nano_unet import Features, NanoUNet
from vbanana_ros.generators.profile import Profile
from vbanana_ros.generators.speed import AUTO, Speed

# Sets of prompts kept embedded: what is asked of every frame, and some queries in between.
CACHED = 64


@dataclass(frozen=True)
class EncodedImage:
    """Frames at the generator's size: RGB [B, 3, h, w] in -1..1, and what was found in them.

    frustums: [B, 4], of their cameras, see `camera.frustum`; NaN where one is not known, None where none is.
    single: it was made of one image and not of a batch of them.
    """

    rgb: torch.Tensor
    frustums: torch.Tensor | None
    features: Features
    single: bool

    def __len__(self) -> int:
        return len(self.rgb)

    def select(self, index: torch.Tensor) -> EncodedImage:
        """These frames, one a prompt."""
        frustums = None if self.frustums is None else self.frustums[index]
        return EncodedImage(self.rgb[index], frustums, self.features.select(index), self.single)


class NanoPipeline(DiffusionPipeline):
    """Pixel-space diffusion in diffusers form: one step about an image, several from noise.

    With one step the noisy sample is all zeros, so the answer about an image is deterministic. What is painted from
    text alone may be guided away from what no text asks for (arXiv 2207.12598).
    """

    def __init__(self, text_encoder: NanoTextEncoder, unet: NanoUNet,
                 scheduler: FlowMatchEulerDiscreteScheduler) -> None:
        super().__init__()
        self.register_modules(text_encoder=text_encoder, unet=unet, scheduler=scheduler)

    @torch.no_grad()
    def __call__(self, prompt: str | list[str], image: np.ndarray | Image.Image | None = None, height: int = 192,
                 width: int = 256, num_inference_steps: int = 1, guidance_scale: float = 1.0, seed: int = 0,
                 output_type: str = "pil", K: np.ndarray | None = None) -> ImagePipelineOutput:
        """Paint one image a prompt, all about one image: PIL, uint8 RGB [H, W, 3], or None for text alone.

        height, width: of what is painted, pixels, multiples of the painter's. guidance_scale: of text alone, 1 none.
        output_type: `pil`, else a float32 array [N, height, width, 3] in 0..1. K: float [3, 3], of the image's camera,
        pixels; None where it is not known. Raises InputError for another size or image.
        """
        if height < 1 or width < 1 or height % self.unet.size_multiple or width % self.unet.size_multiple:
            raise InputError(f"cannot paint {width}x{height} pixels; give multiples of {self.unet.size_multiple}")
        if isinstance(image, Image.Image):
            image = np.array(image.convert("RGB"))
        prompts = self.embed([prompt] if isinstance(prompt, str) else prompt)
        encoded = None
        if image is not None:
            rows = torch.zeros(len(prompts), dtype=torch.long, device=self.device)
            encoded = self.encode(image, height, width, K).select(rows)
        rgb = self.paint(encoded, prompts, (height, width), num_inference_steps, seed, guidance_scale)
        rgb = rgb.permute(0, 2, 3, 1).float().cpu().numpy()
        if output_type == "pil":
            rgb = self.numpy_to_pil(rgb)
        return ImagePipelineOutput(images=rgb)

    def embed(self, texts: Sequence[str]) -> PromptTokens:
        """Prompts -> tokens."""
        batch = self.text_encoder.tokenizer(texts)
        return self.text_encoder(**{k: v.to(self.device) for k, v in batch.items()})

    def encode(self, image: np.ndarray, height: int, width: int, K: np.ndarray | None = None) -> EncodedImage:
        """uint8 RGB [H, W, 3], or a batch of them -> at the generator's size, with features for one-step answers.

        K: float [3, 3], or of each of a batch, of the camera on the image's own pixels; NaN or None: not known.
        """
        check_image(image)
        rgb, frustums = pixels(image, height, width, self.device, self.unet.dtype), None
        if K is not None:
            frustums = np.stack([frustum(one, *image.shape[-3:-1]) for one in np.reshape(K, (len(rgb), 3, 3))])
            frustums = torch.from_numpy(frustums).to(self.device)
        features = self.unet.encode(rgb, torch.zeros_like(rgb), rgb.new_ones(len(rgb)), frustums)
        return EncodedImage(rgb, frustums, features, image.ndim == 3)

    def paint(self, images: EncodedImage | None, prompts: PromptTokens, size: tuple[int, int], steps: int,
              seed: int, guidance: float) -> torch.Tensor:
        """RGB [N, 3, h, w] in 0..1, one row a prompt, each about the image of its row."""
        if images is not None and steps == 1:
            clean = self.unet.paint(images.features, prompts)
        else:
            clean = self._denoise(images, prompts, (len(prompts), 3, *size), steps, seed, guidance)
        return (clean / 2 + 0.5).clamp_(0, 1)

    def _denoise(self, images: EncodedImage | None, prompts: PromptTokens, shape: tuple[int, ...], steps: int,
                 seed: int, guidance: float) -> torch.Tensor:
        """Flow matching from noise: the painter says what is clean, so the velocity is (x_t - x0) / t."""
        guided = images is None and guidance != 1
        nothing = self.embed([""]).select(torch.zeros(shape[0], dtype=torch.long)) if guided else None
        noise = torch.randn(shape[1:], generator=torch.Generator().manual_seed(seed))
        sample = noise.to(self.device).expand(shape)
        self.scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps).tolist(), device=self.device)
        rgb, frustums = (None, None) if images is None else (images.rgb, images.frustums)
        for i, timestep in enumerate(self.scheduler.timesteps):
            sigma = self.scheduler.sigmas[i]
            time = sigma.to(self.device).expand(shape[0])
            features = self.unet.encode(rgb, sample.to(self.unet.dtype), time.to(self.unet.dtype), frustums)
            clean = self.unet.paint(features, prompts)
            if nothing is not None:
                unguided = self.unet.paint(features, nothing)
                clean = unguided + guidance * (clean - unguided)
            sample = self.scheduler.step((sample - clean) / sigma, timestep, sample, return_dict=False)[0]
        return sample


class NanoGenerator:
    """The `Generator` interface over NanoPipeline."""

    def __init__(self, pipeline: NanoPipeline, profile: Profile, weights: str) -> None:
        self.pipeline, self.profile = pipeline, profile
        self.name, self.weights = profile.name, weights
        self.capabilities = Capabilities(
            size_multiple=pipeline.unet.size_multiple, max_area=max(profile.area, profile.picture_area), max_batch=16,
            steps=profile.steps, picture_steps=profile.picture_steps, shared_image=True, text_sees_image=False,
            license=profile.license, tasks=profile.tasks, max_images=8)
        self._embed = functools.lru_cache(CACHED)(pipeline.embed)

    @classmethod
    def load(cls, folder: Path, profile: Profile, weights: str, device: str, speed: Speed = AUTO) -> NanoGenerator:
        """From a model directory; fp32 on the CPU, as stored (fp16) on a GPU.

        Of speed it takes dtype and max_area; raises ModelError where more is asked for or weights are missing.
        """
        speed.refuse(profile.family, "compile", "quantize", "attention", "offload", "max_sequence_length")
        stored = torch.float32 if device == "cpu" else torch.float16
        with silence(diffusers_logging):
            pipeline = NanoPipeline.from_pretrained(folder, local_files_only=True)
            # What the files lack diffusers leaves on no device.
            if missing := [name for name, weight in pipeline.unet.named_parameters() if weight.is_meta]:
                raise ModelError(f"{str(folder)!r} lacks the weights {missing[0]!r}: nano of an earlier version; "
                                 "tune it anew with this one")
            pipeline.to(device=device, dtype=stored if speed.dtype == "auto" else speed.torch_dtype(device))
        for module in (pipeline.unet, pipeline.text_encoder):
            module.eval().requires_grad_(False)
        area, picture_area = speed.area(profile.area), speed.area(profile.picture_area or profile.area)
        return cls(pipeline, replace(profile, area=area, picture_area=picture_area), weights)

    @torch.inference_mode()
    def encode_prompts(self, texts: Sequence[str]) -> PromptTokens:
        """Embed prompts, in one batch; the same list of prompts is embedded once."""
        return self._embed(tuple(texts))

    @torch.inference_mode()
    def encode_image(self, rgb: np.ndarray, K: np.ndarray | None = None) -> EncodedImage:
        """The way down and back of the UNet, once a frame; K: of its camera, as `Generator` says."""
        check_image(rgb)
        return self.pipeline.encode(rgb, *self.size(*rgb.shape[-3:-1]), K)

    @torch.inference_mode()
    def generate(self, image: EncodedImage | None, prompts: PromptTokens, steps: int = 1, seed: int = 0) -> np.ndarray:
        """float32 RGB [N, h, w, 3], or [B, N, h, w, 3], in 0..1; from text alone at 4:3, of the picture's own area."""
        size = tuple(image.rgb.shape[-2:]) if image is not None else painted_size(
            3, 4, self.capabilities.size_multiple, self.profile.picture_area)

        def paint(images: EncodedImage | None, rows: PromptTokens) -> torch.Tensor:
            return self.pipeline.paint(images, rows, size, steps, seed, self.profile.guidance or 1.0)

        return paint_rows(paint, image, prompts, self.capabilities.max_batch)

    def warm_up(self, sizes: Sequence[tuple[int, int]], batches: Sequence[int]) -> None:
        """Run once at each (height, width) of the input and batch of prompts."""
        for height, width in sizes:
            image = self.encode_image(np.zeros((height, width, 3), np.uint8))
            for n in batches:
                self.generate(image, self.encode_prompts(["warm up"] * n))

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that the model paints an input of this size at: its aspect, the profile's area."""
        return painted_size(height, width, self.capabilities.size_multiple, self.profile.area)
