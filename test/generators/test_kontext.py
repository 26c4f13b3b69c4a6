"""FLUX.1 Kontext: what the stock pipeline gives, at any size and without its 8 bits."""

import numpy as np
import pytest
import torch
from diffusers import FluxKontextPipeline
from PIL import Image

from vbanana_ros.generators.kontext import GUIDANCE

FRAME = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
PROMPTS = ["Paint the depth.", "The red mug is rendered in blue."]


@pytest.fixture(scope="session")
def stock(kontext_folder):
    """The stock pipeline on the same weights, frozen: torch takes other kernels for those that can be trained."""
    pipeline = FluxKontextPipeline.from_pretrained(kontext_folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.vae.requires_grad_(False)
    return pipeline


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("image", [True, False])
def test_bit_for_bit_the_stock_pipelines(kontext, stock, steps, image):
    encoded = kontext.encode_image(FRAME) if image else None
    ours = kontext.generate(encoded, kontext.encode_prompts(PROMPTS), steps, seed=3)
    height, width = ours.shape[1:3]
    theirs = stock(image=Image.fromarray(FRAME) if image else None, prompt=PROMPTS, height=height, width=width,
                   max_area=height * width, _auto_resize=False, num_inference_steps=steps, guidance_scale=GUIDANCE,
                   latents=kontext.noise((height, width), 3).expand(2, -1, -1), output_type="np").images
    assert ours.shape == theirs.shape and np.array_equal(ours, theirs)


def test_all_of_a_prompt_counts_and_nothing_is_said_of_clip(kontext, caplog):
    """T5 reads what is beyond CLIP's length."""
    first, second = (kontext.encode_prompts([300 * "x" + end]) for end in ("cat", "dog"))
    assert torch.equal(first.pooled, second.pooled) and not torch.equal(first.embeds, second.embeds)
    assert "truncated" not in caplog.text
