"""A model directory -> a diffusers pipeline: a base, with a denoiser of the directory's own or a LoRA over it.

Nothing is ever downloaded, and no pickle is opened: weights are safetensors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import diffusers
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging

from vbanana_ros.errors import ModelError, one_line
from vbanana_ros.generators.profile import DENOISERS, INDEX, LORA, Profile, base_of

# A pipeline that calls the same parts in another way also reads directories of the first: weights are tuned to it.
ALSO_READS = {"Flux2KleinKVPipeline": "Flux2KleinPipeline"}
# What a denoiser has in common with the other parts of its pipeline; layers and heads are its own affair.
INTERFACE = ("in_channels", "out_channels", "patch_size", "joint_attention_dim", "cross_attention_dim",
             "pooled_projection_dim", "guidance_embeds")


def open_pipeline(cls: type[DiffusionPipeline], folder: Path, profile: Profile, device: str,
                  dtype: torch.dtype) -> DiffusionPipeline:
    """The pipeline of a model directory on a device, ready to infer; `Profile.base` says what a directory can hold.

    A LoRA is fused into the weights, in dtype: it costs no time and no memory when painting. A safety checker is left
    out: it would blank a robot's view.
    Raises ModelError for a directory that is partial, of another pipeline class, or whose parts do not fit.
    """
    from transformers.utils import logging as transformers_logging  # nano needs no transformers

    base = base_of(folder, profile)
    index = _read_index(base, cls, profile)
    parts: dict[str, Any] = {"safety_checker": None} if "safety_checker" in index else {}
    with silence(diffusers_logging, transformers_logging):
        for name in DENOISERS:
            own = folder / name
            if own.is_dir() or name in index:
                _check_denoiser(own, base, name, index)
                parts[name] = _load_denoiser(own if own.is_dir() else base / name, index[name][1], dtype)
        for name, (_, kind) in index.items():
            if name not in parts:
                _check_part(base / name, kind)
        pipeline = cls.from_pretrained(base, local_files_only=True, use_safetensors=True, dtype=dtype, **parts)
        pipeline.set_progress_bar_config(disable=True)
        pipeline.to(device)
        if (folder / LORA).is_file():
            _fuse_lora(pipeline, folder / LORA)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    return pipeline


@contextmanager
def silence(*libraries: ModuleType) -> Iterator[None]:
    """No progress bars and no advice from libraries' `logging` modules: what is wrong with a model is raised."""
    before = [(library, library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, level, bar in before:
            library.set_verbosity(level)
            if bar:
                library.enable_progress_bar()


def _read_index(base: Path, cls: type[DiffusionPipeline], profile: Profile) -> dict[str, tuple[str, str]]:
    """The parts of a pipeline directory, as {name: (library, class)}."""
    if not (base / INDEX).is_file():
        raise ModelError(f"{str(base)!r} is no whole pipeline: it has no {INDEX}; name one as base in vbanana.json")
    index = _read_json(base / INDEX)
    if (found := index.get("_class_name")) not in (cls.__name__, ALSO_READS.get(cls.__name__, "")):
        raise ModelError(f"{str(base)!r} holds a {found or 'pipeline of no class'}, but family {profile.family!r} "
                         f"runs a {cls.__name__}; correct family or base in vbanana.json")
    return {name: tuple(part) for name, part in index.items()
            if isinstance(part, list) and len(part) == 2 and all(isinstance(word, str) for word in part)}


def _check_part(part: Path, kind: str) -> None:
    """Raise ModelError for a part that has not been copied whole."""
    if not part.is_dir() or not any(part.iterdir()):
        raise ModelError(f"{str(part.parent)!r} is incomplete: folder {part.name!r} is missing; copy the model again")
    if any(word in kind for word in ("Scheduler", "Tokenizer", "Processor", "Extractor")):
        return
    names = {"config.json"}
    for sharded in part.glob("*.safetensors.index.json"):
        names |= set(_read_json(sharded).get("weight_map", {}).values())
    if missing := sorted(name for name in names if not (part / name).is_file()):
        raise ModelError(f"{str(part.parent)!r} is incomplete: '{part.name}/{missing[0]}' is missing; "
                         "copy the model again")
    if not any(part.glob("*.safetensors")):
        raise ModelError(f"{str(part.parent)!r} is incomplete: no *.safetensors in folder {part.name!r}; "
                         "copy the model again")


def _check_denoiser(own: Path, base: Path, name: str, index: dict[str, tuple[str, str]]) -> None:
    """Raise ModelError for a replacement that the base's other parts cannot work with, or a partial one."""
    if name not in index:
        raise ModelError(f"{str(own)!r} replaces a {name}, but base {str(base)!r} has none; name another base")
    _check_part(own if own.is_dir() else base / name, index[name][1])
    if not own.is_dir() or own == base / name or not (base / name / "config.json").is_file():
        return
    ours, theirs = _read_json(own / "config.json"), _read_json(base / name / "config.json")
    for key in ("_class_name", *INTERFACE):
        if key in ours and key in theirs and ours[key] != theirs[key]:
            raise ModelError(f"{str(own)!r} does not fit its base: {key} is {ours[key]}, in {str(base)!r} it is "
                             f"{theirs[key]}; name the base that it was trained from")


def _load_denoiser(folder: Path, kind: str, dtype: torch.dtype) -> torch.nn.Module:
    """The transformer or UNet; diffusers would leave weights that the files lack at random."""
    denoiser, loaded = getattr(diffusers, kind).from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype=dtype, output_loading_info=True)
    if missing := sorted(loaded["missing_keys"]):
        raise ModelError(f"{str(folder)!r} lacks the weights {missing[0]!r} that its config.json asks for; "
                         "copy the model again")
    return denoiser


def _fuse_lora(pipeline: DiffusionPipeline, path: Path) -> None:
    """Add a LoRA to the weights that it changes, and forget it."""
    import peft  # noqa: F401 - diffusers would say so less plainly where it is missing

    parts = _check_lora(pipeline, path)
    pipeline.load_lora_weights(path.parent, weight_name=path.name, local_files_only=True)
    pipeline.fuse_lora(components=parts)
    pipeline.unload_lora_weights()


def _check_lora(pipeline: DiffusionPipeline, path: Path) -> list[str]:
    """The pipeline's parts that a LoRA changes; raises ModelError for one that was trained over another base."""
    try:
        state = pipeline.lora_state_dict(path.parent, weight_name=path.name, local_files_only=True)
    except Exception as error:  # converters of other tools' formats raise of everything
        raise ModelError(f"{str(path)!r} is no LoRA that can be read ({one_line(error)[:120]}); "
                         "save it with save_lora_weights") from error
    parts = set()
    for key, weight in (state[0] if isinstance(state, tuple) else state).items():
        if not (match := re.fullmatch(r"(\w+)\.(.+)\.lora_([AB])\.weight", key)):
            continue
        part, layer, side = match.groups()
        try:
            target = getattr(pipeline, part).get_submodule(layer).weight
        except AttributeError:
            raise ModelError(f"{str(path)!r} is a LoRA for another base: this one has no '{part}.{layer}'; "
                             "name the base that it was trained over") from None
        axis = 1 if side == "A" else 0  # A reads the layer's inputs, B writes its outputs
        if weight.shape[axis] != target.shape[axis]:
            raise ModelError(f"{str(path)!r} is a LoRA for another base: '{part}.{layer}' has {weight.shape[axis]} "
                             f"channels there and {target.shape[axis]} here; name the base that it was trained over")
        parts.add(part)
    if not parts:
        raise ModelError(f"{str(path)!r} holds no LoRA weights; save it with save_lora_weights")
    return sorted(parts)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{str(path)!r} is no JSON ({one_line(error)}); copy the model again") from None
    if not isinstance(read, dict):
        raise ModelError(f"{str(path)!r} is no JSON object; copy the model again")
    return read
