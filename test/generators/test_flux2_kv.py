"""FLUX.2 klein-KV: one pass over the image serves every prompt and step, and gives what the stock pipeline gives."""

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinKVPipeline
from PIL import Image
from tiny_klein import tiny_klein

from vbanana_ros.generators.flux2 import KleinKVGenerator
from vbanana_ros.generators.load import load_generator
from vbanana_ros.generators.profile import Profile, write_profile
from vbanana_ros.tasks import TASKS

FRAME = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
PROMPTS = ["Paint the depth.", "The red mug is rendered in blue.", "Normals."]


@pytest.fixture(scope="module")
def stock():
    """The stock pipeline, its gates opened: with weights as they are drawn, the image hardly matters."""
    pipeline = Flux2KleinKVPipeline(**tiny_klein().components, is_distilled=True)
    pipeline.set_progress_bar_config(disable=True)
    for name, weights in pipeline.transformer.named_parameters():
        if "modulation" in name:
            weights.data *= 50
    return pipeline


@pytest.fixture(scope="module")
def klein_kv(stock, tmp_path_factory):
    """Ours on the same weights, loaded from a model directory."""
    folder = tmp_path_factory.mktemp("models") / "klein_kv"
    stock.save_pretrained(folder, safe_serialization=True)
    write_profile(folder, Profile("klein-kv", "flux2_kv", tuple(TASKS), "Apache-2.0", area=64 * 96, picture_steps=4))
    return load_generator(folder, "cpu")


@pytest.fixture
def passes(klein_kv, monkeypatch):
    """What each pass through the transformer is given, from here on."""
    given, transformer = [], klein_kv.painter.pipeline.transformer
    forward = transformer.forward
    monkeypatch.setattr(transformer, "forward", lambda **options: (given.append(options), forward(**options))[1])
    return given


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("image", [True, False])
def test_the_same_as_the_stock_pipelines_to_1e5(klein_kv, stock, steps, image):
    encoded = klein_kv.encode_image(FRAME) if image else None
    ours = klein_kv.generate(encoded, klein_kv.encode_prompts(PROMPTS), steps, seed=3)
    size = ours.shape[1:3]
    noise, _ = klein_kv.painter.noise(size, 3)
    noise = noise.transpose(1, 2).reshape(1, -1, *(side // klein_kv.painter.size_multiple for side in size))
    theirs = stock(image=Image.fromarray(FRAME) if image else None, prompt=PROMPTS, height=size[0], width=size[1],
                   num_inference_steps=steps, latents=noise.expand(len(PROMPTS), -1, -1, -1), output_type="np").images
    assert isinstance(klein_kv, KleinKVGenerator) and ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1e-5 and theirs.std() > 0.01


def test_one_pass_over_the_image_a_frame(klein_kv, passes):
    image, prompts = klein_kv.encode_image(FRAME), klein_kv.encode_prompts(PROMPTS)
    klein_kv.generate(image, prompts, 2)
    klein_kv.generate(image, prompts, 1)
    assert [given["kv_cache_mode"] for given in passes] == ["extract", "cached", "cached", "cached"]
    pixels = image.reference.size[0] * image.reference.size[1] // klein_kv.painter.size_multiple**2
    assert [given["hidden_states"].shape[:2] for given in passes] == [(1, pixels), *[(3, pixels)] * 3]


def test_rows_about_one_image_read_the_same_memory(klein_kv):
    reference = klein_kv.encode_image(FRAME).reference
    cache = reference.select(torch.zeros(5, dtype=torch.long)).cache(1)
    for (keys, values), layer in zip(reference.layers, cache.double_block_caches + cache.single_block_caches,
                                     strict=True):
        assert [t.shape[0] for t in layer.get()] == [5, 5]
        assert [t.data_ptr() for t in layer.get()] == [keys.data_ptr(), values.data_ptr()]


def test_images_looked_at_together_are_painted_as_alone(klein_kv):
    frames, prompts = np.stack([FRAME, 255 - FRAME]), klein_kv.encode_prompts(PROMPTS)
    together = klein_kv.generate(klein_kv.encode_image(frames), prompts, 2)
    alone = [klein_kv.generate(klein_kv.encode_image(frame), prompts, 2) for frame in frames]
    assert together.shape[:2] == (2, 3) and np.abs(together - np.stack(alone)).max() < 1e-5
    print("IM", np.abs(together[0] - together[1]).max())
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_gradients_reach_the_image_and_the_weights():
    pipeline = Flux2KleinKVPipeline(**tiny_klein().components, is_distilled=True)
    painter = KleinKVGenerator.painter_class(pipeline)
    rgb = torch.zeros(1, 3, 16, 16, requires_grad=True)
    with torch.no_grad():
        prompts = painter.embed(["a"])
    tokens, ids = painter.noise((16, 16), 0)
    painter.velocity(tokens, ids, torch.ones(1), prompts, painter.encode(rgb)).square().mean().backward()
    keys = pipeline.transformer.transformer_blocks[0].attn.to_k.weight
    assert rgb.grad.abs().max() > 0 and keys.grad.abs().max() > 0
