"""Picture files: whole ones are read as they are, all others are named with the mend."""

import cv2
import numpy as np
import pytest

from vbanana_ros.errors import InputError
from vbanana_ros.images import read_image


def picture(path, form=".png", shape=(40, 60, 3)):
    rgb = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    path.write_bytes(cv2.imencode(form, rgb[..., ::-1] if rgb.ndim == 3 else rgb)[1].tobytes())
    return rgb


def test_a_png_is_read_exactly(tmp_path):
    rgb = picture(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == rgb).all()


def test_gray_alpha_and_16_bits_become_rgb(tmp_path):
    gray = picture(tmp_path / "gray.png", shape=(8, 9))
    assert (read_image(tmp_path / "gray.png") == gray[..., None]).all()
    cv2.imwrite(str(tmp_path / "deep.png"), gray.astype(np.uint16) * 257)
    assert (read_image(tmp_path / "deep.png") == gray[..., None]).all()
    cv2.imwrite(str(tmp_path / "alpha.png"), np.dstack([gray] * 4))
    assert read_image(tmp_path / "alpha.png").shape == (8, 9, 3)


@pytest.mark.parametrize("form", [".png", ".jpg"])
@pytest.mark.parametrize("kept", [0.3, 0.9, 0.99])
def test_a_cut_picture_is_refused_without_a_word_of_the_decoders(tmp_path, capfd, form, kept):
    path = tmp_path / f"cut{form}"
    picture(path, form)
    data = path.read_bytes()
    path.write_bytes(data[:int(kept * len(data))])
    with pytest.raises(InputError, match=f"cut{form}.*whole PNG or JPEG"):
        read_image(path)
    assert capfd.readouterr().err == ""


def test_a_damaged_png_is_refused(tmp_path, capfd):
    path = tmp_path / "a.png"
    picture(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match="cut or no picture"):
        read_image(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match="a.png"):
        read_image(tmp_path / "a.png")


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(InputError, match="no image .*gone.png.*check the path"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(InputError, match="name an image file"):
        read_image(tmp_path)
