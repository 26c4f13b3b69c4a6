"""FLUX.1 Kontext: what the stock pipeline gives, at any size and without its 8 bits."""

import numpy as np
import pytest
import torch
from diffusers import FluxKontextPipeline
from PIL import Image

from vbanana_ros.errors import InputError
from vbanana_ros.generators.kontext import GUIDANCE
from vbanana_ros.generators.load import load_generator
from vbanana_ros.generators.speed import Speed

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


def test_an_odd_size_is_resized_and_not_cropped_or_snapped(kontext):
    """The right edge is seen: the stock pipeline would cut 101 columns to 96."""
    frame = np.zeros((64, 101, 3), np.uint8)
    other = frame.copy()
    other[:, -1:] = 255
    prompts = kontext.encode_prompts(PROMPTS[:1])
    first, second = (kontext.generate(kontext.encode_image(f), prompts) for f in (frame, other))
    assert first.shape == (1, 64, 96, 3) and np.abs(first - second).max() > 1e-6


def test_every_size_is_painted_at_the_profiles_area(kontext):
    assert kontext.size(640, 960) == kontext.size(40, 60) == (64, 96)
    assert kontext.size(300, 200) == (96, 64)


def test_a_smaller_area_can_be_asked_for(kontext_folder):
    smaller = load_generator(kontext_folder, "cpu", Speed(max_area=32 * 48))
    assert smaller.capabilities.max_area == 32 * 48 and smaller.size(640, 960) == (32, 48)


def test_all_of_a_prompt_counts_and_nothing_is_said_of_clip(kontext, caplog):
    """T5 reads what is beyond CLIP's length."""
    first, second = (kontext.encode_prompts([300 * "x" + end]) for end in ("cat", "dog"))
    assert torch.equal(first.pooled, second.pooled) and not torch.equal(first.embeds, second.embeds)
    assert "truncated" not in caplog.text


def test_the_image_and_the_prompts_are_encoded_once(kontext, monkeypatch):
    calls = []
    inner = kontext.pipeline.vae.encode
    monkeypatch.setattr(kontext.pipeline.vae, "encode", lambda *args: (calls.append(1), inner(*args))[1])
    prompts = kontext.encode_prompts(PROMPTS)
    monkeypatch.setattr(kontext.pipeline.text_encoder_2, "forward", None)
    prompts = kontext.encode_prompts(PROMPTS)  # cached
    image = kontext.encode_image(FRAME)
    kontext.generate(image, prompts, 2)
    kontext.generate(image, prompts, 1)
    assert len(calls) == 1


def test_a_prompt_that_is_too_long_is_refused_before_anything_is_painted(kontext):
    with pytest.raises(InputError, match="tokens is longer than the 512 that the model reads"):
        kontext.encode_prompts(["a wall, " * 200])


def test_the_noise_is_the_seeds_alone(kontext):
    first, again, other = (kontext.noise((64, 96), seed) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_what_it_says_of_itself(kontext):
    able = kontext.capabilities
    assert (able.size_multiple, able.text_sees_image, able.license) == (
        2 * kontext.pipeline.vae_scale_factor, False, "LicenseRef-FLUX1-dev-NC")
