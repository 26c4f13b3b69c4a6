"""What every generator must do, whatever its family: add a new one's fixture to GENERATORS."""

import numpy as np
import pytest

from vbanana_ros.errors import InputError
from vbanana_ros.perception import Frame, Perception
from vbanana_ros.tasks import TASKS, make_request

GENERATORS = ["nano", "klein", "qwen", "kontext", "pix2pix"]
ROUNDING = 5e-5  # guidance multiplies it
EDITORS = {"qwen", "pix2pix"}  # these paint nothing from text alone
PROMPTS = ["Paint the depth.", "The red mug is rendered in blue.", '{"cat": <255, 0, 0>, "dog": #00ff00}']


@pytest.fixture(params=GENERATORS)
def generator(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def frame():
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


def paint(generator, frame, prompts, **options):
    image = None if frame is None else generator.encode_image(frame)
    return generator.generate(image, generator.encode_prompts(prompts), **options)


def test_it_says_what_it_is_and_can(generator):
    able = generator.capabilities
    assert generator.name and len(generator.weights) == 64 and able.license
    assert min(able.size_multiple, able.max_area, able.max_batch, able.max_images, able.steps, able.picture_steps) >= 1
    assert set(able.tasks) <= set(TASKS)


def test_one_float_picture_a_prompt(generator, frame):
    painted = paint(generator, frame, PROMPTS)
    assert painted.dtype == np.float32 and painted.shape[0] == len(PROMPTS) and painted.shape[3] == 3
    assert np.isfinite(painted).all() and painted.min() >= 0 and painted.max() <= 1
    assert not np.array_equal(painted[0], painted[1])


@pytest.mark.parametrize("steps", [1, 3])
def test_the_same_in_the_same_bytes_out(generator, frame, steps):
    first, second = (paint(generator, frame, PROMPTS, steps=steps, seed=5) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_several_steps_start_from_the_seeds_noise(generator, frame):
    first, second = (paint(generator, frame, PROMPTS, steps=2, seed=seed) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_a_prompt_is_painted_the_same_in_any_batch(generator, frame):
    for steps in (1, 2):
        together = paint(generator, frame, PROMPTS, steps=steps)
        for i, prompt in enumerate(PROMPTS):
            assert np.abs(paint(generator, frame, [prompt], steps=steps)[0] - together[i]).max() < ROUNDING


def test_more_prompts_than_fit_one_batch(generator, frame):
    n = generator.capabilities.max_batch + 1
    painted = paint(generator, frame, [PROMPTS[i % 3] for i in range(n)])
    assert len(painted) == n
    assert all(np.abs(painted[i] - painted[i % 3]).max() < ROUNDING for i in range(n))


def test_images_looked_at_together_are_painted_as_alone(generator, frame):
    n = generator.capabilities.max_images
    frames = np.stack([np.roll(frame, 7 * i, 1) for i in range(n)])
    for steps in (1, 2):
        painted = paint(generator, frames if n > 1 else frame, PROMPTS, steps=steps)
        for i, one in enumerate(painted if n > 1 else painted[None]):
            assert np.abs(paint(generator, frames[i], PROMPTS, steps=steps) - one).max() < ROUNDING


def test_text_alone_is_enough_or_refused(generator):
    if generator.name in EDITORS:
        with pytest.raises(InputError, match=f"model '{generator.name}' edits images and paints none from text alone"):
            paint(generator, None, PROMPTS[:1])
        return
    painted = paint(generator, None, PROMPTS[:1], steps=2)
    assert painted.shape[0] == 1 and painted.shape[1] < painted.shape[2]


@pytest.mark.parametrize(("height", "width"), [
    (90, 120), (120, 90), (101, 130), (1, 1), (7, 3000), (3000, 7), (720, 1280),
])
def test_sizes_are_multiples_within_the_area_and_keep_the_aspect(generator, height, width):
    able = generator.capabilities
    h, w = paint(generator, np.zeros((height, width, 3), np.uint8), PROMPTS[:1]).shape[1:3]
    assert h % able.size_multiple == 0 and w % able.size_multiple == 0
    assert h * w <= able.max_area
    if max(height, width) < 4 * min(height, width):
        assert abs(w - h * width / height) <= 2 * able.size_multiple


@pytest.mark.parametrize(("shape", "kind"), [
    ((0, 4, 3), np.uint8), ((4, 4, 3), np.float32), ((4, 4), np.uint8), ((4, 4, 4), np.uint8),
])
def test_other_arrays_are_refused(generator, shape, kind):
    with pytest.raises(InputError, match=r"uint8 \[H, W, 3\]"):
        generator.encode_image(np.zeros(shape, kind))


def test_it_warms_up(generator):
    generator.warm_up([(48, 64)], [1, 2])


def test_perception_answers_on_the_frames_grid(generator, frame):
    perceived = Perception(generator, [make_request("depth"), make_request("semantic", ["wall", "mug"])])(Frame(frame))
    assert perceived.result("depth").depth.shape == perceived.result("semantic").labels.shape == frame.shape[:2]
    assert perceived.model == generator.name and perceived.steps == generator.capabilities.steps
