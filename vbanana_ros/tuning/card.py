"""The model card of what was tuned: what it began as, what it saw, how it was trained, how well it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from vbanana_ros.tuning.mixture import Mixture
from vbanana_ros.tuning.student import Student

_OWN = ("palette", "probe", "picture_size", "blank", "freeze")  # of nano's recipe alone


def about_of(student: Student, step: int, processes: int) -> str:
    """A line for the profile."""
    recipe = student.recipe
    images, (height, width) = step * processes * recipe.images, recipe.size
    kind = f"LoRA of rank {recipe.lora}" if recipe.lora else "All weights"
    if student.name == "nano" and recipe.freeze != "none":
        kind = f"All weights but the {recipe.freeze}'s"
    return f"{kind} of {student.name}, tuned on {images:,} images at {width}x{height} for " + (
        "one step." if recipe.target == "x0" else "several steps.")


def card_of(student: Student, mixture: Mixture, step: int, processes: int,
            figures: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown, with the front matter of a model card; figures: of the held-out records, by kind and metric."""
    recipe = {k: v for k, v in asdict(student.recipe).items() if student.name == "nano" or k not in _OWN}
    images = student.recipe.images * processes
    lines = ["---", "library_name: vbanana_ros", f"base_model: {student.name}", "pipeline_tag: image-to-image",
             "tags: [depth-estimation, surface-normals, image-segmentation, ros2]", "---", "",
             f"# {student.name}, tuned for perception", "", about_of(student, step, processes), "",
             "Run it with `vbanana run photo.jpg --model DIRECTORY`.", "", "## Data", ""]
    total = sum(share for _, share in mixture.sets)
    lines += [f"- {records.name}: {len(records):,} records, {share / total:.0%} of the images"
              for records, share in mixture.sets]
    lines += [f"- prompts about images: {_shares(mixture.tasks)}", f"- pictures: {_shares(mixture.pictures)}",
              f"- augmentation: {mixture.augment}", "", "## Training", "",
              f"{step:,} batches of {images} images. The recipe:", "",
              *(f"- {name}: {value}" for name, value in recipe.items()), "", "## Scores", ""]
    if figures:
        where = "the batches that it learnt by heart" if student.recipe.overfit else f"held-out {mixture.held.name}"
        lines += [f"Of {where}, at the size of training:", ""]
        lines += [f"- {kind}: " + ", ".join(f"{metric} {value:.3f}" for metric, value in values.items())
                  for kind, values in figures.items()]
    else:
        lines += ["None: there were no held-out records."]
    return "\n".join(lines) + "\n"


def _shares(names: Mapping[str, float]) -> str:
    total = sum(names.values())
    return ", ".join(f"{name} {share / total:.0%}" for name, share in names.items())
