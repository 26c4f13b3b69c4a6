"""InstructPix2Pix: what the stock pipeline gives, on the image's own pixels and without its 8 bits."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionInstructPix2PixPipeline
from PIL import Image

FRAME = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
PROMPTS = ["Paint the depth.", "The red mug is rendered in blue."]


@pytest.fixture(scope="session")
def stock(pix2pix_folder):
    """The stock pipeline on the same weights."""
    pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(pix2pix_folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("steps", [1, 4])
def test_it_is_the_stock_pipelines(pix2pix, stock, steps):
    """To rounding: the stock call puts the image through the VAE once a prompt."""
    ours = pix2pix.generate(pix2pix.encode_image(FRAME), pix2pix.encode_prompts(PROMPTS), steps, seed=3)
    theirs = stock(image=[Image.fromarray(FRAME)] * 2, prompt=PROMPTS, num_inference_steps=steps, output_type="np",
                   generator=[torch.Generator().manual_seed(3) for _ in PROMPTS]).images
    assert ours.shape == theirs.shape == (2, 64, 96, 3) and np.abs(ours - theirs).max() < 5e-5


def test_noise_of_the_schedule_is_the_rows_own(pix2pix):
    """Its schedule draws noise at every step; a row does not see what is beside it. One that draws none works too."""
    image = pix2pix.encode_image(FRAME)
    alone = pix2pix.generate(image, pix2pix.encode_prompts(PROMPTS[1:]), 4)
    assert np.abs(pix2pix.generate(image, pix2pix.encode_prompts(PROMPTS), 4)[1] - alone[0]).max() < 5e-5
    scheduler = pix2pix.pipeline.scheduler
    try:
        pix2pix.pipeline.scheduler = DDIMScheduler.from_config(scheduler.config)
        other = pix2pix.generate(image, pix2pix.encode_prompts(PROMPTS[1:]), 4)
    finally:
        pix2pix.pipeline.scheduler = scheduler
    assert np.isfinite(other).all() and np.abs(other - alone).max() > 1e-3


def test_no_checker_paints_measurements_black(pix2pix):
    assert pix2pix.pipeline.safety_checker is None
