"""Qwen-Image-Edit by our own loop: what the stock pipeline gives on the same embeddings, at any size."""

import shutil

import diffusers
import numpy as np
import pytest
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus
from PIL import Image
from transformers import BatchFeature

from vbanana_ros.errors import InputError, ModelError
from vbanana_ros.generators.load import load_generator
from vbanana_ros.generators.profile import Profile, write_profile
from vbanana_ros.generators.qwen_image import EMPTY, GUIDANCE, PATCH

FRAME = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
PROMPTS = ["Paint the depth.", "The red mug is rendered in blue."]


@pytest.fixture
def stock(qwen):
    """The stock pipeline on the same weights; without its processor, which needs torchvision."""
    parts = {name: getattr(qwen.pipeline, name) for name in
             ("scheduler", "vae", "text_encoder", "tokenizer", "transformer")}
    pipeline = diffusers.QwenImageEditPlusPipeline(**parts, processor=None)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def process(qwen):
    """What the stock processor does, with the image processor that is in it."""
    def processor(text, images, padding, return_tensors):
        seen = qwen.eye(images, return_tensors=return_tensors)
        patches = int(seen["image_grid_thw"][0].prod()) // qwen.eye.merge_size**2
        tokens = qwen.pipeline.tokenizer([t.replace(PATCH, PATCH * patches) for t in text], padding=padding,
                                         return_tensors=return_tensors)
        return BatchFeature({**tokens, **seen})
    return processor


@pytest.mark.parametrize("steps", [1, 3])
def test_it_is_the_stock_pipelines(qwen, stock, steps, monkeypatch):
    """With its image at the size that is painted, not at 1 MP; to rounding, as it divides latents by 1 / scale."""
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", 64 * 96)
    image = qwen.encode_image(FRAME)
    ours = qwen.generate(image, qwen.encode_prompts(PROMPTS), steps, seed=3)
    assert ours.shape == (2, 64, 96, 3)
    for prompt, painted in zip(PROMPTS, ours, strict=True):
        theirs = stock(
            image=Image.fromarray(FRAME), prompt_embeds=qwen.read(prompt, image.reference), true_cfg_scale=GUIDANCE,
            negative_prompt_embeds=qwen.read(EMPTY, image.reference), height=64, width=96, num_inference_steps=steps,
            latents=qwen.noise((64, 96), 3), output_type="np").images
        assert np.abs(painted - theirs[0]).max() < 1e-6


def test_embeddings_are_the_stock_pipelines_where_it_says_which_tokens_are_the_images(qwen, stock, monkeypatch):
    image = qwen.encode_image(FRAME)
    forward, ids = stock.text_encoder.forward, qwen.pipeline.tokenizer.convert_tokens_to_ids(PATCH)
    monkeypatch.setattr(stock, "processor", process(qwen), raising=False)
    seen = [stock.image_processor.resize(Image.fromarray(FRAME), 320, 480)]
    dropped = stock.encode_prompt(PROMPTS[0], seen)[0]
    monkeypatch.setattr(stock.text_encoder, "forward", lambda input_ids, **inputs: forward(
        input_ids, mm_token_type_ids=(input_ids == ids).int(), **inputs))
    told = stock.encode_prompt(PROMPTS[0], seen)[0]
    ours = qwen.read(PROMPTS[0], image.reference)
    assert ours.shape == told.shape and (ours - told).abs().max() < 1e-5
    assert (ours - dropped).abs().max() > 1e-3


def test_the_image_is_encoded_once_and_each_prompt_once_a_frame(qwen, monkeypatch):
    calls = []

    def count(module, name):
        inner = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, **kwargs: (calls.append(name), inner(*args, **kwargs))[1])

    count(qwen.pipeline.vae, "encode")
    count(qwen.pipeline.text_encoder.model, "get_image_features")
    count(qwen, "read")
    image = qwen.encode_image(FRAME)
    qwen.generate(image, qwen.encode_prompts(PROMPTS), 3)
    assert sorted(calls) == ["encode", "get_image_features", "read", "read", "read"]  # both prompts and the empty wish


def test_prompts_see_the_image(qwen):
    first, second = (qwen.read(PROMPTS[0], qwen.encode_image(frame).reference) for frame in (FRAME, 255 - FRAME))
    assert (first - second).abs().max() > 1e-4


def test_a_prompt_with_the_models_own_tokens_is_refused(qwen):
    with pytest.raises(InputError, match=r"may not hold the model's own token '<\|image_pad\|>'"):
        qwen.encode_prompts([f"Paint {PATCH}."])


def test_over_a_base_its_processor_is_the_bases(qwen, qwen_folder, tmp_path):
    shutil.copytree(qwen_folder / "transformer", tmp_path / "transformer")
    write_profile(tmp_path, Profile("tuned", "qwen_image", ("depth",), "Apache-2.0", 64 * 96, base=str(qwen_folder)))
    first, second = (model.generate(model.encode_image(FRAME), model.encode_prompts(PROMPTS[:1]))
                     for model in (qwen, load_generator(tmp_path, "cpu")))
    assert np.array_equal(first, second)


def test_a_directory_without_its_processor_is_refused(qwen_folder, tmp_path):
    shutil.copytree(qwen_folder, tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "processor")
    with pytest.raises(ModelError, match="folder 'processor' is missing"):
        load_generator(tmp_path / "cut", "cpu")
