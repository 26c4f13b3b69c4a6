"""InstructPix2Pix: what the stock pipeline gives, on the image's own pixels and without its 8 bits."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionInstructPix2PixPipeline
from PIL import Image

from vbanana_ros.errors import InputError

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


def test_an_image_within_the_area_keeps_its_pixels(pix2pix):
    assert pix2pix.size(64, 96) == (64, 96) and pix2pix.size(40, 56) == (40, 56)
    height, width = pix2pix.size(480, 640)
    assert height * width <= 64 * 96 and abs(width / height - 4 / 3) < 0.08


def test_the_image_and_the_prompts_are_encoded_once(pix2pix, monkeypatch):
    calls = []
    inner = pix2pix.pipeline.vae.encode
    monkeypatch.setattr(pix2pix.pipeline.vae, "encode", lambda *args: (calls.append(1), inner(*args))[1])
    prompts = pix2pix.encode_prompts(PROMPTS)
    monkeypatch.setattr(pix2pix.pipeline.text_encoder, "forward", None)
    prompts = pix2pix.encode_prompts(PROMPTS)  # cached
    image = pix2pix.encode_image(FRAME)
    pix2pix.generate(image, prompts, 2)
    pix2pix.generate(image, prompts, 1)
    assert len(calls) == 1


def test_a_prompt_that_is_too_long_is_refused_before_anything_is_painted(pix2pix):
    length = pix2pix.pipeline.tokenizer.model_max_length
    with pytest.raises(InputError, match=f"tokens is longer than the {length} that the model reads"):
        pix2pix.encode_prompts(["a wall, " * 200])


def test_no_checker_paints_measurements_black(pix2pix):
    assert pix2pix.pipeline.safety_checker is None


def test_what_it_says_of_itself(pix2pix):
    able = pix2pix.capabilities
    assert (able.size_multiple, able.text_sees_image, able.license) == (
        pix2pix.pipeline.vae_scale_factor, False, "MIT")
