"""What several tests need: a tiny nano model, a generator that knows the answers, a frame with ground truth."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vbanana_ros.generators.base import Capabilities
from vbanana_ros.generators.load import load_generator
from vbanana_ros.generators.nano_text import NanoTextEncoder
from vbanana_ros.generators.nano_unet import NanoUNet
from vbanana_ros.generators.profile import Profile, write_profile
from vbanana_ros.tasks import TASKS, dialect

sys.path.insert(0, str(Path(__file__).parent))  # the tiny pipelines beside this file


def tiny_nano(seed=0, **recipe):
    """Nano with the fewest channels that have every kind of block; random weights. Sizes in multiples of 16."""
    from vbanana_ros.tuning.nano import NanoStudent
    from vbanana_ros.tuning.recipe import Recipe
    from vbanana_ros.tuning.vocabulary import VOCABULARY

    torch.manual_seed(seed)
    return NanoStudent(NanoTextEncoder(VOCABULARY, dim=32), NanoUNet(channels=(32, 32, 32), text_dim=32, key_dim=8),
                       Recipe(**recipe))


class Oracle:
    """A generator that paints the truth: for each prompt what its task's `encode` makes of the result."""

    name, weights = "oracle", "0" * 64

    def __init__(self, truth, tasks=(), max_images=1, profile=None):
        self.capabilities = Capabilities(1, 1 << 30, 16, 1, 4, True, False, "Apache-2.0", tasks, max_images)
        self.profile, spoken = profile, dialect(profile)
        self.painted = {spoken[r.task].prompt(r): np.asarray(spoken[r.task].encode(t, r)) for r, t in truth}
        self.calls = []

    def encode_prompts(self, texts):
        self.calls.append(("encode_prompts", len(texts)))
        return tuple(texts)

    def encode_image(self, rgb, K=None):
        self.calls.append(("encode_image", rgb.shape))
        return rgb

    def generate(self, image, prompts, steps=1, seed=0):
        self.calls.append(("generate", len(prompts), steps))
        painted = np.stack([self.painted[prompt] for prompt in prompts])
        return painted if image is None or image.ndim == 3 else np.stack([painted] * len(image))

    def warm_up(self, sizes, batches):
        pass


@pytest.fixture(scope="session")
def student():
    """Makes tiny students: `student(seed, size=(32, 32), ...)`."""
    return tiny_nano


@pytest.fixture(scope="session")
def oracle():
    """Makes generators that know the answers: `oracle([(request, result), ...])`."""
    return Oracle


@pytest.fixture(scope="session")
def nano_folder(tmp_path_factory):
    """A model directory of a tiny nano; it paints 48x64. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    about = "A tiny model with random weights."
    tiny_nano(size=(48, 64), picture_size=(48, 64)).export(folder, about, f"# tiny\n\n{about}\n")
    return folder


@pytest.fixture(scope="session")
def nano(nano_folder):
    """The tiny nano, loaded."""
    return load_generator(nano_folder, "cpu")


@pytest.fixture(scope="session")
def sim_frame():
    """A made-up view, 48x64: wall above floor, a red and a blue box, a green ball, nothing in one corner."""
    from vbanana_ros.sim import CLASSES, SimFrame, SimObject
    from vbanana_ros.sim.scene import Camera

    rows = np.mgrid[:48, :64][0]
    depth = np.where(rows < 24, 4.0, 96 / (rows + 1.0)).astype(np.float32)
    normals = np.where((rows < 24)[..., None], np.float32([0, 0, -1]), np.float32([0, -1, 0])).astype(np.float32)
    classes = np.where(rows < 24, CLASSES.index("wall"), CLASSES.index("floor")).astype(np.uint8)
    instances = np.full((48, 64), 65535, np.uint16)
    things = [("box", "red", np.s_[16:36, 6:20], 1.5), ("box", "blue", np.s_[10:20, 40:50], 3.0),
              ("ball", "green", np.s_[30:42, 44:58], 1.0)]
    objects = []
    for i, (name, colour, where, distance) in enumerate(things):
        depth[where], classes[where], instances[where] = distance, CLASSES.index(name), i
        normals[where] = np.float32([0.6, 0, -0.8])
        objects.append(SimObject(i, name, colour, "medium", np.array([i, distance, 0.5]), np.full(3, 0.5 / (1 + i))))
    depth[:4, :4], normals[:4, :4], classes[:4, :4] = np.inf, np.nan, 255
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    return SimFrame(rgb, depth, normals, classes, instances, objects, np.diag([60.0, 60, 1]),
                    Camera.looking_at(np.array([0, 0, 1.25]), np.array([0, 1, 1.25]), 45.0))


TINY = {"tasks": tuple(TASKS), "license": "Apache-2.0", "area": 64 * 96}


def _model(tmp_path_factory, save, profile):
    """A model directory of what save(folder) writes."""
    folder = tmp_path_factory.mktemp("models") / profile.name
    save(folder)
    write_profile(folder, profile)
    return folder


@pytest.fixture(scope="session")
def klein_folder(tmp_path_factory):
    """A model directory of a FLUX.2 klein of the real classes with tiny random weights. Copy it before changing it."""
    from tiny_klein import tiny_klein

    return _model(tmp_path_factory, tiny_klein().save_pretrained, Profile("klein", "flux2", picture_steps=4, **TINY))


@pytest.fixture(scope="session")
def klein(klein_folder):
    """The tiny klein, loaded."""
    return load_generator(klein_folder, "cpu")


@pytest.fixture(scope="session")
def qwen_folder(tmp_path_factory):
    """A model directory of a Qwen-Image-Edit of the real classes with tiny random weights."""
    from tiny_qwen import tiny_qwen

    return _model(tmp_path_factory, tiny_qwen, Profile("qwen", "qwen_image", picture_steps=4, **TINY))


@pytest.fixture(scope="session")
def qwen(qwen_folder):
    """The tiny Qwen-Image-Edit, loaded."""
    return load_generator(qwen_folder, "cpu")


@pytest.fixture(scope="session")
def kontext_folder(tmp_path_factory):
    """A model directory of a FLUX.1 Kontext of the real classes with tiny random weights."""
    from tiny_kontext import tiny_kontext

    profile = Profile("kontext", "kontext", picture_steps=4, **TINY | {"license": "LicenseRef-FLUX1-dev-NC"})
    return _model(tmp_path_factory, tiny_kontext().save_pretrained, profile)


@pytest.fixture(scope="session")
def kontext(kontext_folder):
    """The tiny Kontext, loaded."""
    return load_generator(kontext_folder, "cpu")


@pytest.fixture(scope="session")
def pix2pix_folder(tmp_path_factory):
    """A model directory of an InstructPix2Pix of the real classes with tiny random weights."""
    from tiny_pix2pix import tiny_pix2pix

    profile = Profile("pix2pix", "instruct_pix2pix", steps=4, picture_steps=4, **TINY | {"license": "MIT"})
    return _model(tmp_path_factory, tiny_pix2pix().save_pretrained, profile)


@pytest.fixture(scope="session")
def pix2pix(pix2pix_folder):
    """The tiny InstructPix2Pix, loaded."""
    return load_generator(pix2pix_folder, "cpu")
