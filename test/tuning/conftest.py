"""A folder of scenes, and mixtures of it."""

from dataclasses import replace

import numpy as np
import pytest

from vbanana_ros.tuning.mixture import Mixture
from vbanana_ros.tuning.scenes import open_scenes, save_frame, scene_path


@pytest.fixture
def scenes_folder(tmp_path, sim_frame):
    """A folder of three scenes, which differ by their colours alone."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    for seed in range(3):
        save_frame(scene_path(folder, seed, 0), replace(sim_frame, rgb=np.roll(sim_frame.rgb, seed, 0)))
    return folder


@pytest.fixture
def feed():
    """Makes a mixture of the scenes of a folder and nothing else: `feed(folder, depth=1.0)`, all tasks by default."""
    def fed(folder, held=None, **tasks):
        mixture = Mixture([(open_scenes(folder), 1.0)], held=held and open_scenes(held))
        return replace(mixture, tasks=tasks) if tasks else mixture
    return fed


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """Each run of a test may be of another precision; accelerate keeps one for a process."""
    from accelerate.state import AcceleratorState, GradientState

    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
