"""What every family over a diffusers pipeline has of the base: sizes, what is done once, the parameters of speed, and
the retreat from memory."""

import shutil

import numpy as np
import pytest
import torch

from vbanana_ros.errors import InputError, ModelError
from vbanana_ros.generators import speed as module
from vbanana_ros.generators.load import load_generator
from vbanana_ros.generators.speed import Speed, denoiser_of, text_encoders_of

FRAME = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
PROMPTS = ["Paint the depth.", "The red mug is rendered in blue.", "a", "b"]
FAMILIES = ["klein", "qwen", "kontext", "pix2pix"]
WITH_BATCHES = ["klein", "kontext", "pix2pix"]
TRANSFORMERS = ["klein", "qwen", "kontext"]


def paint(model, prompts=PROMPTS[:1], steps=2):
    return model.generate(model.encode_image(FRAME), model.encode_prompts(prompts), steps)


@pytest.fixture
def own(request):
    """A family's tiny model: as it is, and with a speed of its own."""
    def load(family, speed=None):
        if speed is None:
            return request.getfixturevalue(family)
        return load_generator(request.getfixturevalue(f"{family}_folder"), "cpu", speed)
    return load


@pytest.mark.parametrize("family, able", [
    ("klein", (2, 8, False, "Apache-2.0")), ("qwen", (2, 1, True, "Apache-2.0")),
    ("kontext", (2, 8, False, "LicenseRef-FLUX1-dev-NC")), ("pix2pix", (1, 8, False, "MIT"))])
def test_what_they_say_of_themselves(own, family, able):
    model = own(family)
    said, latents = model.capabilities, model.capabilities.size_multiple / model.pipeline.vae_scale_factor
    assert (latents, said.max_batch, said.text_sees_image, said.license) == able
    assert said.shared_image and said.max_area == 64 * 96


@pytest.mark.parametrize("family", FAMILIES)
def test_an_odd_size_is_resized_and_not_cropped_or_snapped(own, family):
    """The right edge is seen: stock pipelines would cut 101 columns to 96 or 100, or take a size that they prefer."""
    model, frame = own(family), np.zeros((64, 101, 3), np.uint8)
    other = frame.copy()
    other[:, -1:] = 255
    prompts = model.encode_prompts(PROMPTS[:1])
    first, second = (model.generate(model.encode_image(f), prompts) for f in (frame, other))
    assert first.shape == (1, 64, 96, 3) and np.abs(first - second).max() > 1e-7


@pytest.mark.parametrize("family, small", [("klein", (32, 48)), ("pix2pix", (40, 56)), ("qwen", (64, 96)),
                                           ("kontext", (64, 96))])
def test_a_size_keeps_its_aspect_and_the_profiles_area(own, family, small):
    """Small images are painted as they are, or larger by the families that are used to it."""
    model = own(family)
    assert model.size(64, 96) == (64, 96) and model.size(*small) == small
    height, width = model.size(480, 640)
    assert 0.6 * 64 * 96 < height * width <= 64 * 96 and abs(width / height - 4 / 3) < 0.2


@pytest.mark.parametrize("family", FAMILIES)
def test_the_image_is_encoded_once_a_frame_and_prompts_once(own, family, monkeypatch):
    model, calls = own(family), []
    vae = model.pipeline.vae
    inner = vae.encode
    monkeypatch.setattr(vae, "encode", lambda *args, **kwargs: (calls.append(1), inner(*args, **kwargs))[1])
    prompts = model.encode_prompts(PROMPTS)
    monkeypatch.setattr(model, "_embed", None)
    assert model.encode_prompts(PROMPTS) is prompts
    image = model.encode_image(FRAME)
    model.generate(image, prompts, 2)
    model.generate(image, prompts, 1)
    assert len(calls) == 1


@pytest.mark.parametrize("family, most", [("klein", 512), ("kontext", 512), ("qwen", 1024), ("pix2pix", 256)])
def test_a_prompt_that_is_too_long_is_refused_before_anything_is_painted(own, family, most):
    with pytest.raises(InputError, match=f"tokens is longer than the {most} that the model reads"):
        own(family).encode_prompts(["a wall, " * 200])


@pytest.mark.parametrize("family", ["qwen", "kontext"])
def test_the_noise_is_the_seeds_alone(own, family):
    first, again, other = (own(family).noise((64, 96), seed) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_paints_about_the_same_with_a_vae_in_float32(own, family):
    half = own(family, Speed(dtype="bfloat16"))
    assert (denoiser_of(half.pipeline).dtype, half.pipeline.vae.dtype) == (torch.bfloat16, torch.float32)
    assert 1e-7 < np.abs(paint(half) - paint(own(family))).max() < 0.1


@pytest.mark.parametrize("family", TRANSFORMERS)
def test_attention_backends_paint_the_same(own, family):
    math = own(family, Speed(attention="_native_math"))
    assert np.abs(paint(math) - paint(own(family))).max() < 1e-5


@pytest.mark.parametrize("kind", ["int8", "float8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_quantized_blocks_paint_about_the_same(own, family, kind):
    pytest.importorskip("torchao")
    small = own(family, Speed(quantize=kind))
    linear = [part for name, part in denoiser_of(small.pipeline).named_modules()
              if "transformer_blocks." in name and isinstance(part, torch.nn.Linear)]
    assert linear and all(type(part.weight.data) is not torch.Tensor for part in linear)
    assert 1e-7 < np.abs(paint(small) - paint(own(family))).max() < 0.1


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with a C++ compiler")
@pytest.mark.parametrize("family", FAMILIES)
def test_compiled_blocks_paint_the_same(own, family):
    compiled = own(family, Speed(compile="default"))
    assert np.abs(paint(compiled) - paint(own(family))).max() < 1e-4
    torch.compiler.reset()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_smaller_area_is_painted(own, family):
    small = own(family, Speed(max_area=32 * 48))
    assert paint(small).shape == (1, 32, 48, 3) and small.capabilities.max_area == 32 * 48


@pytest.mark.parametrize("family", ["klein", "kontext"])
def test_prompts_are_padded_to_the_length_asked_for(own, family):
    assert own(family, Speed(max_sequence_length=64)).encode_prompts(PROMPTS[:1]).embeds.shape[1] == 64


@pytest.mark.parametrize("family, speed, said", [
    ("qwen", Speed(max_sequence_length=64), "family 'qwen_image' has no max_sequence_length to choose, not 64; set "
                                            "max_sequence_length to 0"),
    ("pix2pix", Speed(max_sequence_length=64), "family 'instruct_pix2pix' has no max_sequence_length"),
    ("kontext", Speed(max_sequence_length=513), "max_sequence_length is 513, and family 'kontext' reads 512 tokens"),
    ("pix2pix", Speed(attention="native"), "a UNet2DConditionModel has none to choose; use auto"),
    ("nano", Speed(attention="native"), "no attention to choose, not 'native'; set attention to auto"),
    ("nano", Speed(compile="default"), "family 'nano' has no compile to choose"),
    ("nano", Speed(quantize="int8"), "family 'nano' has no quantize to choose"),
    ("nano", Speed(offload="model"), "family 'nano' has no offload to choose"),
    ("nano", Speed(max_sequence_length=9), "family 'nano' has no max_sequence_length to choose")])
def test_what_a_family_lacks_is_refused_when_it_is_loaded(own, family, speed, said):
    with pytest.raises(ModelError, match=said):
        own(family, speed)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_text_encoder_changes_places_with_the_denoiser(own, family, monkeypatch):
    """On a GPU; here the moves are watched. Where prompts see the image, all parts take turns instead."""
    monkeypatch.setattr(module, "offload", lambda *args: "text")
    monkeypatch.setattr("diffusers.DiffusionPipeline.enable_model_cpu_offload", lambda *args, **kwargs: None)
    waiting = own(family, Speed())
    assert waiting.speed.offload == ("model" if family == "qwen" else "text")
    moves, parts = [], [denoiser_of(waiting.pipeline), *text_encoders_of(waiting.pipeline)]
    for part in parts:
        monkeypatch.setattr(part, "to", lambda device, part=part: moves.append((parts.index(part), str(device))))
    first, there, back = paint(waiting), [(i, "cpu") for i in range(1, len(parts))], (0, "cpu")
    assert moves == ([] if family == "qwen" else [back, *there, *there, back])
    assert np.array_equal(paint(waiting), first) and np.array_equal(first, paint(own(family)))
    assert len(moves) in (0, 2 * len(parts))  # nothing moves for prompts that are known


@pytest.fixture
def small_memory(own, monkeypatch):
    """A model of its own whose VAE decodes so many images, of so many latents each."""
    def limited(family, rows, latents):
        model = own(family, Speed())
        decode = model.pipeline.vae.decode

        def guarded(z, *args, **options):
            if len(z) > rows or z.shape[-2] * z.shape[-1] > latents:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return decode(z, *args, **options)
        monkeypatch.setattr(model.pipeline.vae, "decode", guarded)
        return model
    return limited


@pytest.mark.parametrize("family", WITH_BATCHES)
def test_too_many_rows_for_the_memory_are_painted_in_smaller_batches_from_then_on(own, small_memory, family, caplog):
    few, whole = small_memory(family, rows=2, latents=10000), paint(own(family), PROMPTS)
    assert np.abs(paint(few, PROMPTS) - whole).max() < 5e-5
    assert few.capabilities.max_batch == 2 and few.capabilities.max_area == own(family).capabilities.max_area
    assert "4 image(s) of 96x64 at once take more memory than there is" in caplog.text
    caplog.clear()
    paint(few, PROMPTS)
    assert not caplog.text


@pytest.mark.parametrize("family", FAMILIES)
def test_one_row_that_is_too_much_is_painted_smaller_from_then_on(own, small_memory, family, caplog):
    full = 64 * 96 // own(family).pipeline.vae_scale_factor ** 2
    small = small_memory(family, rows=1, latents=full // 2)
    painted = paint(small)
    height, width = painted.shape[1:3]
    assert height * width <= 64 * 96 / 2 and abs(width / height - 1.5) < 0.4
    caplog.clear()
    assert np.array_equal(paint(small), painted) and not caplog.text


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_too_much_at_the_least_size_is_said(small_memory, family):
    with pytest.raises(torch.OutOfMemoryError):
        paint(small_memory(family, rows=1, latents=0))
