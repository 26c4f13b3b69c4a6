"""Nano: the way down once a frame, prompts embedded once, a diffusers pipeline that survives its disk."""

import copy
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from PIL import Image

from vbanana_ros.errors import InputError
from vbanana_ros.generators.load import load_generator
from vbanana_ros.generators.nano import CACHED, NanoGenerator, NanoPipeline
from vbanana_ros.generators.nano_unet import BLOCK, NEAR, OWN_COLORS, REACH, NanoUNet, _doubted, _Edges
from vbanana_ros.generators.speed import Speed

FRAME = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture
def counted(nano, monkeypatch):
    """How often the ways down and up and the text encoder ran, since the test began."""
    calls = Counter()

    def counting(name, inner):
        def call(*args, **options):
            calls[name] += 1
            return inner(*args, **options)
        return call
    unet, text = nano.pipeline.unet, nano.pipeline.text_encoder
    monkeypatch.setattr(unet, "encode", counting("encode", unet.encode))
    monkeypatch.setattr(unet, "paint", counting("paint", unet.paint))
    monkeypatch.setattr(text, "forward", counting("embed", text.forward))
    return calls


def test_the_way_down_runs_once_a_frame(nano, counted):
    prompts = nano.encode_prompts(["a", "b", "c"])
    image = nano.encode_image(FRAME)
    for _ in range(2):
        nano.generate(image, prompts)
    assert counted["encode"] == 1 and counted["paint"] == 2


def test_prompts_are_embedded_once_and_not_hoarded(nano, counted):
    for _ in range(3):
        nano.encode_prompts(["something new", "and newer"])
    assert counted["embed"] == 1
    for i in range(CACHED + 1):
        nano.encode_prompts([f"query {i}"])
    assert nano._embed.cache_info().currsize == CACHED


def test_batches_are_no_larger_than_allowed(nano, monkeypatch):
    rows = []
    inner = nano.pipeline.paint
    monkeypatch.setattr(nano.pipeline, "paint", lambda image, prompts, *rest: (
        rows.append(len(prompts.tokens)), inner(image, prompts, *rest))[1])
    nano.generate(nano.encode_image(FRAME), nano.encode_prompts(["a"] * 35))
    assert rows == [16, 16, 3]


def test_one_step_about_an_image_knows_no_seed(nano):
    image, prompts = nano.encode_image(FRAME), nano.encode_prompts(["a"])
    assert np.array_equal(nano.generate(image, prompts, seed=1), nano.generate(image, prompts, seed=2))


@pytest.mark.parametrize(("height", "width", "expected"), [
    (480, 640, (192, 256)), (640, 480, (256, 192)), (720, 1280, (160, 288)), (2, 1, (288, 160)),
    (1, 10_000, (32, 1536)),
])
def test_sizes_of_the_default_profile(nano, monkeypatch, height, width, expected):
    monkeypatch.setattr(nano, "profile", replace(nano.profile, area=192 * 256))
    monkeypatch.setattr(nano, "capabilities", replace(nano.capabilities, size_multiple=32))
    assert nano.size(height, width) == expected


def one_pixel(unet, query, paint):
    """The painter's weights, taken away: hidden features that become this query, [key_dim], and this paint, [3]."""
    for module in (unet.to_query, unet.to_paint, unet.to_tint, unet.to_looks):
        module.weight.zero_(), module.bias.zero_()
    unet.to_query.bias.copy_(query.repeat_interleave(unet.config.patch**2))
    unet.to_paint.bias.copy_(paint.repeat_interleave(unet.config.patch**2))


def test_a_colour_of_the_prompt_is_painted_exactly_where_it_is_chosen(nano):
    """The painter mixes its own paint with the prompt's colours; a sure choice gives the very colour, all over."""
    unet = copy.deepcopy(nano.pipeline.unet)
    prompts = nano.encode_prompts(["the cat is <10, 200, 30>. the dog is <1, 2, 3>.", "the cat. the dog."])
    image = nano.encode_image(FRAME).select(torch.zeros(2, dtype=torch.long))
    with torch.no_grad():
        keys = unet.to_key(torch.cat([prompts.keys, prompts.tokens], -1))[0]
        dog = prompts.colored[0].nonzero()[1, 0]
        one_pixel(unet, 1e6 * (keys[dog] - keys[dog - 1] - unet.free_key), torch.tensor([0.5, 0.0, -0.5]))
        painted = unet.paint(image.features, prompts)
    assert torch.allclose(255 * (painted[0] / 2 + 0.5), 255 * prompts.colors[0, dog][:, None, None], atol=1e-3)
    assert torch.allclose(painted[1], torch.tensor([0.5, 0.0, -0.5])[:, None, None], atol=1e-6)


def test_a_prompt_leaves_open_what_it_names_and_to_paint_freely(nano):
    """None of the painter's own, as two colours are named."""
    prompts = nano.encode_prompts(["the cat is <10, 200, 30>. the dog is <1, 2, 3>."])
    usable = nano.pipeline.unet.usable(prompts)[0]
    assert usable.nonzero()[:, 0].tolist() == [0, *(1 + prompts.colored[0].nonzero()[:, 0]).tolist()]


@pytest.mark.parametrize(("color", "left"), [
    ((0, 0, 0), 26), ((255, 255, 255), 26), ((64, 0, 0), 25), ((64, 64, 64), 27),
])
def test_one_named_colour_leaves_the_painters_own_that_are_far_from_it(nano, color, left):
    """They are a lattice of three levels; half way along an edge both its ends are too near."""
    prompts = nano.encode_prompts([f"Each cat is colored differently. Background is <{str(color)[1:-1]}>."])
    own = nano.pipeline.unet.usable(prompts)[0, -len(OWN_COLORS):]
    assert int(own.sum()) == left
    far = (OWN_COLORS / 2 + 0.5 - torch.tensor(color) / 255).norm(dim=1) > NEAR / 2
    assert torch.equal(own, far)


@pytest.mark.parametrize(("lead", "sure"), [(2.6, False), (2.8, True)])
def test_an_own_colour_that_hardly_leads_is_not_painted(nano, lead, sure):
    """The same lead everywhere: all is painted in it, or all is background. The whole picture may lead by 2.3 less."""
    unet = copy.deepcopy(nano.pipeline.unet)
    unet.register_to_config(surety=5.0)
    prompts = nano.encode_prompts(["Each cat is colored differently. Background is <10, 200, 30>."])
    image = nano.encode_image(FRAME).select(torch.zeros(1, dtype=torch.long))
    first = torch.eye(unet.config.key_dim)[0]
    with torch.no_grad():
        for weights in (unet.to_key.weight, unet.to_key.bias, unet.free_key, unet.own_keys):
            weights.zero_()
        unet.own_keys[-1] = first
        one_pixel(unet, lead * unet.config.key_dim**0.5 * first, torch.zeros(3))
        painted = unet.paint(image.features, prompts)
    expected = OWN_COLORS[-1] if sure else 2 * torch.tensor([10, 200, 30]) / 255 - 1
    assert torch.allclose(painted[0], expected[:, None, None], atol=1e-4)


def test_doubted_are_parts_of_one_colour_by_their_mean_lead_and_size():
    """Two of colour 4 in the first picture, the larger one sure, and beside that one of colour 7; 0 leads nowhere."""
    which, lead = torch.zeros(2, 4, 8), torch.full((2, 4, 8), -1.0)
    which[0, :, :3], lead[0, :, :3] = 4, 2.0
    lead[0, 1:3, 1] = 4.0  # a middle that makes up for its rim: 28 / 12
    which[0, :, 3:5], lead[0, :, 3:5] = 7, 1.9
    which[0, 3, 7], lead[0, 3, 7] = 4, 2.2
    which[1], lead[1, 0, 0] = 4, 2.3

    def worth(mean, pixels):
        return mean + math.log(pixels / (0.01 * 32)) / 2

    expected = torch.zeros(2, 4, 8, dtype=torch.bool)
    assert torch.equal(_doubted(lead, which, worth(2.2, 1) - 1e-4), expected)
    expected[0, 3, 7] = True
    assert torch.equal(_doubted(lead, which, worth(2.2, 1) + 1e-4), expected)
    expected[1, 0, 0] = True
    assert torch.equal(_doubted(lead, which, worth(1.9, 8) - 1e-4), expected)
    expected[0, :, 3:5] = True
    assert torch.equal(_doubted(lead, which, worth(28 / 12, 12) - 1e-4), expected)
    expected[0, :, :3] = True
    assert torch.equal(_doubted(lead, which, worth(28 / 12, 12) + 1e-4), expected)


def test_training_paints_every_second_pixel_of_the_whole_with_a_softer_choice(nano):
    """At the same sharpness they are the same, of prompts that leave all, some and no colours open."""
    unet = copy.deepcopy(nano.pipeline.unet)
    unet.register_to_config(sharpness=1.0, surety=-math.inf)
    prompts = nano.encode_prompts(["the cat is red. the dog is <1, 2, 3>.", "Background is black.", "the cat."])
    image = nano.encode_image(FRAME).select(torch.zeros(3, dtype=torch.long))
    with torch.no_grad():
        whole = unet.paint(image.features, prompts)
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            part = unet.decode(image.features, prompts, (row, column))
            assert torch.allclose(part.rgb, whole[..., row::2, column::2], atol=1e-5)
            assert torch.allclose(part.choice.exp().sum(1), torch.ones(()))
            open_ = (part.choice > -torch.inf).all((2, 3))
            assert torch.equal(open_, unet.usable(prompts)) and open_[:, 1:].sum(1).tolist()[2] == 0


def test_edges_are_a_bilateral_filter_over_the_windows_of_blocks():
    rng = torch.Generator().manual_seed(0)
    values, looks = torch.randn(2, 5, 8, 12, generator=rng), torch.randn(2, 3, 8, 12, generator=rng)
    with torch.no_grad():
        drawn = _Edges()(values, looks)
    for n, y, x in ((0, 0, 0), (0, 7, 11), (1, 3, 4), (1, 5, 9)):
        top, left = y - y % BLOCK - REACH, x - x % BLOCK - REACH
        around = [(r, c) for r in range(top, top + BLOCK + 2 * REACH) for c in range(left, left + BLOCK + 2 * REACH)]
        inside = [(min(max(r, 0), 7), min(max(c, 0), 11)) for r, c in around]  # at the rim, its last pixels
        far = torch.tensor([(r - y)**2 + (c - x)**2 for r, c in around]) / (2 * REACH**2)
        unlike = torch.stack([(looks[n, :, r, c] - looks[n, :, y, x]).square().sum() for r, c in inside])
        expected = (-far - unlike).softmax(0) @ torch.stack([values[n, :, r, c] for r, c in inside])
        assert torch.allclose(drawn[n, :, y, x], expected, atol=1e-5)


def test_a_new_painter_draws_the_edges_that_it_sees_in_the_image():
    """What was painted with a ramp across an edge of the image has a step there, on the very pixel."""
    unet = NanoUNet(channels=(32, 32), patch=2).eval()
    image = torch.ones(1, 3, 16, 32)
    image[..., 15:] = -1
    ramp = torch.linspace(0, 1, 32).expand(1, 1, 16, 32)
    with torch.no_grad():
        looks, whole = unet.conv_in_looks(image), torch.empty(1, 1, 16, 32)
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            quarter = np.s_[..., row::2, column::2]
            whole[quarter] = unet.edges(ramp[quarter], looks[quarter])
    drawn = whole[0, 0, 8]
    assert drawn[:15].max() < 0.5 < drawn[15:].min()
    assert drawn[15] - drawn[14] > 5 * (ramp[0, 0, 0, 15] - ramp[0, 0, 0, 14])


def test_pictures_from_text_have_no_edges_to_follow(nano):
    sample, time = torch.zeros(1, 3, 32, 48), torch.ones(1)
    with torch.no_grad():
        assert nano.pipeline.unet.encode(None, sample, time).looks is None
        assert nano.pipeline.unet.encode(sample, sample, time).looks.shape == (1, 8, 32, 48)


def test_details_are_of_pictures_from_text_alone_and_none_to_begin_with(nano):
    """Both the noise and its level matter to them; what is painted about an image, noisy or not, is left alone."""
    new = NanoUNet(**{k: v for k, v in nano.pipeline.unet.config.items() if not k.startswith("_")}).eval()
    prompts, time = nano.encode_prompts(["a red ball"]), torch.tensor([0.5])
    sample, image = torch.randn(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = new.encode(None, sample, time)
        plain, about = new.paint(features, prompts), new.paint(new.encode(image, sample, time), prompts)
        coarse = new.paint(replace(features, sample=None), prompts)
        torch.nn.init.normal_(new.detail.conv_out.weight)
        drawn = new.paint(features, prompts)
        assert torch.equal(plain, coarse) and torch.equal(new.paint(new.encode(image, sample, time), prompts), about)
        assert torch.allclose(drawn - coarse, new.detail(coarse, sample, features.temb) - coarse)
        for other in (new.encode(None, sample, 2 * time), new.encode(None, sample + image / 10, time)):
            other.levels = features.levels
            assert (new.detail(coarse, other.sample, other.temb) - drawn).abs().max() > 0.01
            assert not torch.equal(new.paint(other, prompts), drawn)


def test_it_is_a_diffusers_pipeline(nano_folder, tmp_path):
    pipe = NanoPipeline.from_pretrained(nano_folder, local_files_only=True)
    size = {"height": 48, "width": 64}
    picture = pipe("the cat is red.", image=Image.fromarray(FRAME), **size).images[0]
    assert isinstance(picture, Image.Image) and picture.size == (64, 48)
    assert len(pipe(["a", "b"], num_inference_steps=2, **size).images) == 2
    array = pipe("the cat is red.", image=FRAME, output_type="np", **size).images
    assert array.dtype == np.float32 and np.abs(array[0] * 255 - np.asarray(picture)).max() < 1
    with pytest.raises(InputError, match="multiples of 16"):
        pipe("a", height=50, width=64)

    pipe.save_pretrained(tmp_path)
    again = NanoPipeline.from_pretrained(tmp_path)
    assert isinstance(again.scheduler, FlowMatchEulerDiscreteScheduler)
    for name in ("unet", "text_encoder"):
        first, second = getattr(pipe, name).state_dict(), getattr(again, name).state_dict()
        assert first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
    # Weights read in place lie otherwise in memory, which moves the last bit.
    assert np.allclose(array, again("the cat is red.", image=FRAME, output_type="np", **size).images, atol=1e-6)


def test_pictures_from_text_have_a_size_and_guidance_of_their_own(nano, monkeypatch, counted):
    """What a profile says of pictures is what the pipeline paints when asked so; of images it changes nothing."""
    prompts = nano.encode_prompts(["a cat.", "a dog."])
    image = nano.encode_image(FRAME)
    before = nano.generate(image, prompts)
    monkeypatch.setattr(nano, "profile", replace(nano.profile, picture_area=32 * 48, guidance=3.0))
    pictures = nano.generate(None, prompts, steps=2, seed=5)
    assert pictures.shape == (2, 32, 48, 3)
    assert np.array_equal(nano.generate(image, prompts), before)
    asked = {"prompt": ["a cat.", "a dog."], "height": 32, "width": 48, "num_inference_steps": 2, "seed": 5,
             "output_type": "np"}
    assert np.array_equal(nano.pipeline(**asked, guidance_scale=3.0).images, pictures)
    assert not np.array_equal(nano.pipeline(**asked).images, pictures)
    counted.clear()
    nano.pipeline(**asked, guidance_scale=3.0)
    assert counted["encode"] == 2 and counted["paint"] == 4  # the way down knows no text


def test_no_picture_is_larger_than_allowed(nano_folder):
    small = load_generator(nano_folder, "cpu", Speed(max_area=32 * 48))
    assert small.capabilities.max_area == 32 * 48
    assert small.generate(None, small.encode_prompts(["a cat."]), steps=1).shape == (1, 32, 48, 3)


def test_guidance_leads_away_from_what_no_text_asks_for(nano):
    """One step is linear in the scale: what is painted without text, and so many times the difference to it."""
    unet, seen = nano.pipeline.unet, []
    tokens, nothing = nano.encode_prompts(["the cat is red."]), nano.encode_prompts([""])
    noise = torch.randn((3, 32, 48), generator=torch.Generator().manual_seed(5))[None]
    with torch.no_grad():
        features = unet.encode(None, noise, torch.ones(1))
        told, untold = (unet.paint(features, prompts) for prompts in (tokens, nothing))
        for scale in (0.0, 1.0, 1.5):
            seen.append(nano.pipeline.paint(None, tokens, (32, 48), 1, 5, scale))
    for scale, picture in zip((0.0, 1.0, 1.5), seen, strict=True):
        expected = ((untold + scale * (told - untold)) / 2 + 0.5).clamp(0, 1)
        assert torch.allclose(picture, expected, atol=1e-5)


def test_guidance_does_not_touch_what_is_painted_about_an_image(nano, monkeypatch):
    image, prompts = nano.encode_image(FRAME), nano.encode_prompts(["a"])
    plain = nano.generate(image, prompts, steps=2)
    monkeypatch.setattr(nano, "profile", replace(nano.profile, guidance=3.0))
    assert np.array_equal(nano.generate(image, prompts, steps=2), plain)


K = np.array([[60.0, 0, 31.5], [0, 60, 23.5], [0, 0, 1]])  # of FRAME


@pytest.fixture
def told(nano):
    """A painter that has learnt something of cameras: weights that are zero to begin with are random."""
    pipeline = copy.deepcopy(nano.pipeline)
    torch.nn.init.normal_(pipeline.unet.view.embedding.linear_2.weight, std=0.1)
    return NanoGenerator(pipeline, nano.profile, "")


def test_a_new_painter_takes_no_notice_of_the_camera(nano):
    prompts = nano.encode_prompts(["a"])
    assert np.array_equal(nano.generate(nano.encode_image(FRAME, K), prompts),
                          nano.generate(nano.encode_image(FRAME), prompts))


def test_a_camera_that_is_not_known_is_none(told):
    """In one step and in several, which see the image anew."""
    prompts, unknown, none = told.encode_prompts(["a"]), np.full((3, 3), np.nan), K * [[-1], [1], [1]]
    for steps in (1, 2):
        plain, nothing, backward, wide = (told.generate(told.encode_image(FRAME, k), prompts, steps)
                                          for k in (None, unknown, none, K))
        assert np.array_equal(plain, nothing) and np.array_equal(plain, backward) and np.abs(plain - wide).max() > 1e-3


def test_each_image_of_a_batch_has_its_own_camera(told):
    prompts, cameras = told.encode_prompts(["a", "b"]), np.stack([K, np.full((3, 3), np.nan), K / 2])
    together = told.generate(told.encode_image(np.stack([FRAME] * 3), cameras), prompts)
    for painted, camera in zip(together, cameras, strict=True):
        assert np.abs(painted - told.generate(told.encode_image(FRAME, camera), prompts)).max() < 1e-5


def test_the_pipeline_is_told_the_camera_too(told):
    asked = {"prompt": ["a", "b"], "image": FRAME, "height": 48, "width": 64, "output_type": "np"}
    ours = told.generate(told.encode_image(FRAME, K), told.encode_prompts(["a", "b"]))
    assert np.array_equal(told.pipeline(**asked, K=K).images, ours)
    assert np.abs(told.pipeline(**asked).images - ours).max() > 1e-3


def test_a_camera_is_the_same_on_any_grid(told):
    """K goes with the image: of every second pixel, the same view."""
    small = FRAME[::2, ::2]
    half = np.diag([0.5, 0.5, 1]) @ (K + [[0, 0, 0.5], [0, 0, 0.5], [0] * 3]) - [[0, 0, 0.5], [0, 0, 0.5], [0] * 3]
    with torch.no_grad():
        views = [told.pipeline.unet.view(told.encode_image(*seen).frustums) for seen in ((FRAME, K), (small, half))]
    assert torch.allclose(*views, atol=1e-6)


def test_what_a_painter_sees_of_a_camera(told):
    """The usual view is the origin; a lens beyond all that are known is the last of them; nothing is not a number."""
    view = told.pipeline.unet.view
    seen = []
    view.embedding.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    width, height = view.usual
    view(torch.tensor([[-width, -height, width, height], [-2 * width, 0, 2 * width, 2 * height],
                       [-1e4, -1e4, 1e4, 1e4], [torch.nan] * 4]))
    two = 4 * math.log(2)
    assert torch.allclose(seen[0][:3], torch.tensor([[0, 0, 0, 0], [two, 0, 0, 4], [4, 4, 0, 0]]), atol=1e-5)
    assert torch.isfinite(seen[0]).all()


def test_two_copies_paint_the_same_bytes(nano, nano_folder):
    other = load_generator(nano_folder, "cpu")
    first, second = (g.generate(g.encode_image(FRAME), g.encode_prompts(["the cat is red."])) for g in (nano, other))
    assert first.tobytes() == second.tobytes()


def test_half_precision_paints_the_same(nano):
    """What a GPU runs; here on the CPU. Nothing is doubted: whether a part is sure enough may hang on the last bit."""
    pipeline = copy.deepcopy(nano.pipeline)
    pipeline.unet.register_to_config(surety=-math.inf)
    asked = {"prompt": "the cat is red.", "image": FRAME, "height": 48, "width": 64, "output_type": "np"}
    exact = pipeline(**asked).images
    pipeline.to(torch.float16)
    half, several = pipeline(**asked).images, pipeline(**asked, num_inference_steps=2).images
    assert half.dtype == np.float32 and np.abs(half - exact).max() < 0.02
    assert np.isfinite(several).all()
