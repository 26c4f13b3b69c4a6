"""FLUX.2 klein by our own loop: what the stock pipeline gives, without its crop and its 8 bits."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinPipeline
from PIL import Image

from vbanana_ros.errors import ModelError
from vbanana_ros.generators.load import load_generator

FRAME = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
PROMPTS = ["Paint the depth.", "The red mug is rendered in blue."]


@pytest.fixture(scope="session")
def stock(klein_folder):
    """The stock pipeline on the same weights."""
    pipeline = Flux2KleinPipeline.from_pretrained(klein_folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def latents(klein, size, seed):
    """Our noise as the stock pipeline takes it."""
    noise, _ = klein.painter.noise(size, seed)
    return noise.transpose(1, 2).reshape(1, -1, *(side // klein.painter.size_multiple for side in size))


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("image", [True, False])
def test_bit_for_bit_the_stock_pipelines(klein, stock, steps, image):
    encoded = klein.encode_image(FRAME) if image else None
    ours = klein.generate(encoded, klein.encode_prompts(PROMPTS), steps, seed=3)
    size = ours.shape[1:3]
    theirs = stock(image=Image.fromarray(FRAME) if image else None, prompt=PROMPTS, height=size[0], width=size[1],
                   num_inference_steps=steps, latents=latents(klein, size, 3).expand(2, -1, -1, -1),
                   output_type="np").images
    assert ours.shape == theirs.shape and np.array_equal(ours, theirs)


def test_a_model_that_is_not_distilled_is_guided_as_the_stock_pipeline_does(klein_folder, tmp_path):
    folder = shutil.copytree(klein_folder, tmp_path / "base")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"is_distilled": False}))
    klein, stock = load_generator(folder, "cpu"), Flux2KleinPipeline.from_pretrained(folder, local_files_only=True)
    stock.set_progress_bar_config(disable=True)
    ours = klein.generate(klein.encode_image(FRAME), klein.encode_prompts(PROMPTS), 3, seed=3)
    height, width = ours.shape[1:3]
    theirs = [stock(image=Image.fromarray(FRAME), prompt=PROMPTS, height=height, width=width, num_inference_steps=3,
                    latents=latents(klein, (height, width), 3).expand(2, -1, -1, -1), output_type="np",
                    guidance_scale=scale).images for scale in (4.0, 1.0)]
    assert np.array_equal(ours, theirs[0]) and np.abs(theirs[0] - theirs[1]).max() > 1e-3


def test_a_missing_package_is_named(klein_folder, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError("No module named 'transformers'", name="transformers")
    monkeypatch.setattr("vbanana_ros.generators.load.import_module", missing)
    with pytest.raises(ModelError, match=r"family 'flux2' needs the package 'transformers'; pip install"):
        load_generator(klein_folder, "cpu")


def test_the_noise_is_the_seeds_alone(klein):
    first, again, other = (klein.painter.noise((64, 96), seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
