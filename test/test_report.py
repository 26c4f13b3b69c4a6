"""The report: keys say what the pictures show, the page is whole in itself, files are what they are called."""

import base64
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from vbanana_ros.camera import Camera
from vbanana_ros.cloud import make_cloud
from vbanana_ros.colorize import INVALID, colorize
from vbanana_ros.errors import InputError
from vbanana_ros.params import Params
from vbanana_ros.perception import Answer, Frame, Perceived
from vbanana_ros.report import Report, keys, views, write_pngs
from vbanana_ros.report.page import painted_figure
from vbanana_ros.report.views import ABOVE, BACKGROUND, BESIDE, CAMERA_COLOR, eye_at, render_view
from vbanana_ros.results import DepthMap, Instances, LabelMap, NormalMap
from vbanana_ros.tasks import TASKS, make_request
from vbanana_ros.tasks.gray import Gray

H, W = 48, 64
CAMERA = Camera.from_fov(W, H, 60)
WEIGHTS = "ab12cd34ef56" + "0" * 52


def painted(task, **words):
    """An answer as a perfect generator would paint it: two halves, near and far."""
    request = make_request(task, **words)
    rgb = np.zeros((H, W, 3), np.float32)
    left = np.arange(W) < W // 2
    if task == "depth":
        depth = np.where(left, 1.5, 4.0).astype(np.float32) * np.ones((H, 1), np.float32)
        rgb = TASKS["depth"].encode(DepthMap(depth, depth), request)
    elif task == "normals":
        rgb[:] = 0.5, 0.5, 1.0
    elif task == "instance":
        rgb[:] = np.divide(request.background, 255)
        rgb[10:30, 5:25] = 0.2, 0.9, 0.4
    elif task == "picture":
        rgb[:] = 0.25, 0.5, 0.75
    else:
        rgb[:, left] = np.divide(request.colors[0], 255)
        rgb[:, ~left] = np.divide(request.background, 255)
    if task in ("depth", "normals"):
        rgb[0, :16] = (0.45, 0.55, 0.5)  # no legal colour of either code
    return Answer(request, TASKS[task].prompt(request), TASKS[task].decode(rgb, request), rgb)


def perceive(number=0, camera=CAMERA, answers=None):
    rgb = np.full((H, W, 3), (200, 40, 90), np.uint8)
    answers = answers or (
        painted("depth"), painted("normals"),
        painted("semantic", labels=["floor", "<b>wall & door</b>"], colors=["#12ab34", "red"]),
        painted("instance", labels=["chair"]), painted("instance", labels=["box"], background="#102030"),
        painted("referring", labels=["the ball left of the sofa"], colors=["#fedc10"]),
        painted("picture", text="Make it blue."))
    timings = {"encode": 1.0 + number, "generate": 90.0, "decode": 9.0 - number}
    return Perceived(Frame(rgb, 1_500_000_000, "eye", camera), answers, timings, "nano", WEIGHTS, 7, 2)


def page_of(*perceived, failed=(), shown=8, tmp_path):
    report = Report("walk <1>", shown)
    for p in perceived:
        report.add(p)
    report.failed.extend(failed)
    return report.write(tmp_path / "report.html").read_text(encoding="utf-8")


def text_of(html):
    """What is read: neither pictures nor tags."""
    return re.sub(r"\s+", " ", re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", html, flags=re.DOTALL))


def pictures(html, alt):
    for data in re.findall(rf'<img src="data:image/\w+;base64,([^"]+)"[^>]*alt="{alt}"', html):
        bgr = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        yield cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


# keys

def test_each_tick_of_the_shown_bar_stands_at_the_colour_of_its_metres():
    bar = keys.shown_bar(painted("depth").result)
    assert bar.unit == "m" and [text for _, text in bar.ticks][:3] == ["0.3", "0.5", "1"]
    for place, text in bar.ticks:
        there = bar.colors[0, round(place * (bar.colors.shape[1] - 1))].astype(int)
        depth = np.array([[float(text)]], np.float32)
        assert np.abs(there - colorize(DepthMap(depth, depth))[0, 0]).max() <= 6, text


def test_each_tick_of_the_painted_bar_stands_at_a_corner_of_the_walk():
    bar = keys.painted_bar()
    corners = [(0, 0, 0), (255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255),
               (255, 255, 255)]
    assert [t for _, t in bar.ticks] == ["0", "0.8", "1.8", "3.2", "5.3", "8.7", "16.5", "∞"]
    for (place, _), corner in zip(bar.ticks, corners, strict=True):
        there = bar.colors[0, round(place * (bar.colors.shape[1] - 1))].astype(int)
        assert np.abs(there - corner).max() <= 3


def test_a_relative_depth_has_no_metres(tmp_path):
    answer = painted("depth")
    result = replace(answer.result, metric=False)
    bar = keys.shown_bar(result)
    assert bar.unit == "relative, no metres" and [t for _, t in bar.ticks] == ["1.5", "4"]
    np.testing.assert_array_equal(bar.colors[0, [0, -1]], colorize(result)[1, [0, -1]])
    perceived = perceive(answers=(replace(answer, result=result),))
    read = text_of(page_of(perceived, tmp_path=tmp_path))
    assert "relative, no metres" in read and "16.5" not in read and "cloud" not in read
    names = {p.name for p in write_pngs(tmp_path, perceived, "f")}
    assert names == {"f_input.png", "f_overlay.png", "f_depth.png", "f_depth_painted.png", "f_depth_relative.npy"}


def test_a_depth_that_is_painted_in_grey_has_no_rainbow_bar():
    answer = painted("depth")
    assert "16.5" in painted_figure(answer) and "16.5" not in painted_figure(replace(answer, task=Gray()))


def test_the_ball_has_the_colours_of_its_normals():
    ball = keys.normals_ball(2001).astype(int)
    for (row, column), normal in {(1000, 1000): (0, 0, -1), (1000, 0): (-1, 0, 0), (0, 1000): (0, -1, 0)}.items():
        painted = TASKS["normals"].encode(NormalMap(np.float32([[normal]]), None), make_request("normals"))
        assert np.abs(ball[row, column] - 255 * painted[0, 0]).max() <= 5
    assert keys.color_of_depth(np.nan) == INVALID != keys.color_of_depth(np.inf)


# views

def square_cloud():
    """A grey wall at 4 m with a red square on its upper left and a green post 2 m nearer, low on the right."""
    depth, rgb = np.full((H, W), 4.0, np.float32), np.full((H, W, 3), 120, np.uint8)
    rgb[8:14, 10:18] = 255, 0, 0
    depth[34:42, 44:52], rgb[34:42, 44:52] = 2.0, (0, 255, 0)
    return make_cloud(depth, CAMERA, rgb)


@pytest.mark.parametrize("angles", [BESIDE, ABOVE])
def test_points_are_where_the_eye_projects_them(angles):
    cloud = square_cloud()
    points = np.stack([cloud[a] for a in "xyz"], -1).reshape(-1, 3)
    eye = eye_at(points, *angles, 240, 320)
    picture = render_view(cloud, *angles, 240, 320).astype(int)
    for row, column, channel in ((11, 14, 0), (38, 48, 1)):
        u, v, z = eye.project(np.array([cloud[a][row, column] for a in "xyz"]))
        pixel = picture[round(v), round(u)]
        assert pixel[channel] > 120 > 2 * np.delete(pixel, channel).max() and z > 0
    tuple_at = eye.project(eye.position + 3 * eye.rotation[2])
    np.testing.assert_allclose(tuple_at, (159.5, 119.5, 3), atol=1e-9)


def test_eyes_are_left_of_and_above_the_camera_and_see_all():
    cloud = square_cloud()
    points = np.stack([cloud[a] for a in "xyz"], -1).reshape(-1, 3).astype(float)
    for angles in (BESIDE, ABOVE):
        eye = eye_at(points, *angles, 240, 320, inside=np.zeros((1, 3)))
        middle = points.mean(0)
        x, y, z = eye.position - middle
        assert x < 0 and y < 0 and z < 0
        places = eye.project(np.vstack([points, np.zeros((1, 3))]))
        inside = ((places[:, :2] >= 0) & (places[:, :2] < (320, 240))).all(1)
        assert inside[-1] and inside.mean() > 0.95
    # From above, what is nearer to the camera is lower in the picture.
    near, far = eye.project(np.array([[0, 1.0, 2.0], [0, 1.0, 4.0]]))
    assert near[1] > far[1]


def test_the_nearest_point_wins_and_backs_are_not_seen():
    places = np.array([[3.0, 2.0, 5.0], [3.0, 2.0, 1.0], [3.0, 2.0, 3.0], [3.0, 2.0, -1.0]])
    nearest, depth = views._splat(places, np.ones(4), 6, 8)
    assert nearest[2, 3] == 1 and depth[2, 3] == 1 and nearest[5, 7] == -1 and np.isinf(depth[5, 7])
    # A ceiling, seen from below, hides nothing from an eye above it; a floor is seen.
    v = np.arange(H)[:, None] * np.ones((1, W))
    sky = v < H / 2
    slope = np.abs(v - (H - 1) / 2) / CAMERA.K[1, 1]
    depth = np.where(slope > 0.1, 1 / slope, np.nan).astype(np.float32)
    rgb = np.where(sky[..., None], (0, 0, 255), (255, 255, 0)).astype(np.uint8)
    picture = render_view(make_cloud(depth, CAMERA, rgb), 0, 60, 120, 160).astype(int)
    blue, yellow = picture[..., 2] > 150, picture[..., 0] > 150
    assert yellow.sum() > 1000 and blue.sum() == 0


def test_a_view_of_nothing_is_background_and_the_camera_is_drawn_only_where_asked():
    cloud = square_cloud()
    empty = cloud.copy()
    empty["x"] = np.nan
    assert (render_view(empty, *ABOVE, 30, 40) == BACKGROUND).all()
    for camera in (False, True):
        picture = render_view(cloud, *ABOVE, 240, 320, camera=camera).astype(int)
        assert (np.abs(picture - CAMERA_COLOR).max(-1) < 60).any() == camera


# the page

def test_the_page_is_whole_in_itself_and_says_where_it_comes_from(tmp_path):
    page = page_of(perceive(0), perceive(2), failed=["/cam at 3.0: truncated <jpeg>"], tmp_path=tmp_path)
    bare = re.sub(r'data:image/\w+;base64,[^"]+', "", page)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<link|src=\"(?!\")", bare)
    assert "<!--" not in bare
    read = text_of(page)
    for text in ("walk &lt;1&gt;", "model nano", "weights ab12cd34ef56", "seed 7", "steps 2", "frames 2",
                 "failed 1", "/cam at 3.0: truncated &lt;jpeg&gt;", "eye · 1.500000000 s · 64 × 48 · 100 ms"):
        assert text in read, text
    assert WEIGHTS not in page


def test_timings_are_median_least_and_most_in_milliseconds(tmp_path):
    read = text_of(page_of(perceive(0), perceive(1), perceive(5), tmp_path=tmp_path))
    assert "encode 2.0 1.0 6.0" in read and "decode 8.0 4.0 9.0" in read and "total 100.0 100.0 100.0" in read
    assert "frames per second 10 " in read


def test_legends_name_every_colour_expression_instance_and_prompt(tmp_path):
    page = page_of(perceive(), tmp_path=tmp_path)
    read = text_of(page)
    for color, name, share in (("#12ab34", "floor", "50 %"), ("#ff0000", "&lt;b&gt;wall &amp; door&lt;/b&gt;", "0 %"),
                               ("#fedc10", "the ball left of the sofa", "50 %")):
        assert re.search(rf'background:{color}"[^>]*></i>{re.escape(name)}<span>{share}</span>', page), name
    result = perceive().result("instance")
    assert [d.name for d in result.detections] == ["chair", "box"]
    for d in result.detections:
        shown = "#{:02x}{:02x}{:02x}".format(*colorize(Instances(np.uint16([[d.id]]), (d,), np.ones((1, 1))))[0, 0])
        assert f'background:{shown}" title="{shown}"></i><i class="small" style="background:#33e666"' in page
        assert f"{d.id} {d.name} {d.score:.2f}" in read
    for answer in perceive().answers:
        assert answer.prompt.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace(
            '"', "&quot;") in page


def test_pictures_show_what_was_decoded_and_share_of_valid_pixels(tmp_path):
    page = page_of(perceive(), tmp_path=tmp_path)
    semantic = list(pictures(page, "decoded"))[2]
    np.testing.assert_array_equal(semantic, colorize(perceive().result("semantic")))
    # 16 of 3072 pixels have no legal colour.
    assert text_of(page).count("99.5 % of the pixels valid") == 2
    depth = next(pictures(page, "decoded"))
    assert np.abs(depth[0, :16].astype(int) - INVALID).max() <= 12  # JPEG
    assert f'background:{"#{:02x}{:02x}{:02x}".format(*INVALID)}' in page
    bars = list(pictures(page, "colour bar, m"))
    np.testing.assert_array_equal(bars[0], keys.shown_bar(perceive().result("depth")).colors)
    np.testing.assert_array_equal(bars[1], keys.painted_bar().colors)
    assert len(list(pictures(page, "cloud, from beside the camera"))) == 1


def test_no_camera_no_cloud_and_a_given_cloud_is_shown(tmp_path):
    assert "cloud" not in text_of(page_of(perceive(camera=None), tmp_path=tmp_path))
    report = Report("given")
    report.add(perceive(camera=None), square_cloud())
    assert "cloud, from above" in report.write(tmp_path / "r.html").read_text(encoding="utf-8")
    assert "No frame has a result." in Report("none").write(tmp_path / "n.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("count, shown", [(1, 3), (3, 3), (7, 3), (50, 4), (200, 8)])
def test_frames_shown_are_spread_and_memory_is_bounded(count, shown, tmp_path, monkeypatch):
    monkeypatch.setattr("vbanana_ros.report.page._frame", lambda number, p, cloud: f'<section id="frame-{number}">')
    report, perceived = Report("bag", shown), perceive()
    for number in range(count):
        assert report.add(perceived) == number
        assert len(report._kept) <= 2 * shown
    page = report.write(tmp_path / "r.html").read_text(encoding="utf-8")
    numbers = [int(n) for n in re.findall(r'section id="frame-(\d+)"', page)]
    assert len(numbers) == min(count, shown) and numbers[0] == 0 and numbers[-1] >= 0.7 * (count - 1)
    gaps = np.diff(numbers)
    assert not len(gaps) or gaps.max() <= 2 * gaps.min()


# files

def test_files_are_named_as_promised_and_read_back(tmp_path):
    perceived = perceive()
    paths = write_pngs(tmp_path / "new", perceived, "a", Params(max_range=3.0))
    assert sorted(p.name for p in paths) == sorted(p.name for p in (tmp_path / "new").iterdir())
    tasks = ("depth", "normals", "semantic", "instance", "referring", "picture")
    names = {"a_input.png", "a_overlay.png", "a_instance_painted_2.png", "a_cloud.ply"}
    names |= {f"a_{t}.png" for t in tasks} | {f"a_{t}_painted.png" for t in tasks} | {f"a_{t}.npy" for t in tasks[:-1]}
    assert {p.name for p in paths} == names

    def read(name):
        return cv2.cvtColor(cv2.imread(str(tmp_path / "new" / name)), cv2.COLOR_BGR2RGB)

    for task in tasks:
        np.testing.assert_array_equal(read(f"a_{task}.png"), colorize(perceived.result(task)))
    np.testing.assert_array_equal(read("a_input.png"), perceived.frame.rgb)
    half = perceived.frame.rgb.astype(float) / 2 + colorize(perceived.result("semantic")).astype(float) / 2
    assert np.abs(read("a_overlay.png") - half).max() <= 1
    np.testing.assert_array_equal(read("a_depth.png")[0, :16], [INVALID] * 16)
    assert np.abs(read("a_depth_painted.png") / 255 - perceived.answer("depth").painted).max() <= 0.5001 / 255
    arrays = {t: np.load(tmp_path / "new" / f"a_{t}.npy") for t in tasks[:-1]}
    for task, dtype in zip(arrays, ("float32", "float32", "uint8", "uint16", "uint8"), strict=True):
        result = perceived.result(task)
        want = getattr(result, {DepthMap: "depth", NormalMap: "normals"}.get(type(result), "labels"))
        assert arrays[task].dtype == dtype
        np.testing.assert_array_equal(arrays[task], want)
    ply = (tmp_path / "new" / "a_cloud.ply").read_bytes()
    near = np.count_nonzero(arrays["depth"][::2, ::2] <= 3)
    assert f"element vertex {near}\n".encode() in ply and 0 < near < H * W / 4


def test_without_camera_or_labels_there_is_no_cloud_and_no_overlay(tmp_path):
    names = {p.name for p in write_pngs(tmp_path, perceive(camera=None, answers=(painted("normals"),)), "b")}
    assert names == {"b_input.png", "b_normals.png", "b_normals_painted.png", "b_normals.npy"}


def test_what_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "report.html").mkdir()
    with pytest.raises(InputError, match="cannot write .*a_input.png") as error:
        write_pngs(tmp_path / "file", perceive(), "a")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="cannot write .*report.html"):
        Report("x").write(tmp_path / "report.html")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "report.html"]


def test_many_instances_and_no_labels_stay_readable(tmp_path):
    labels = np.arange(H * W, dtype=np.uint16).reshape(H, W) % 40
    base = perceive().result("instance").detections[0]
    many = Instances(labels, tuple(replace(base, id=i, box=(i, 0, 1, 1)) for i in range(40)), np.ones((H, W), "f4"))
    answer = replace(painted("instance", labels=["chair"]), result=many)
    read = text_of(page_of(perceive(answers=(answer,)), tmp_path=tmp_path))
    assert "23 chair" in read and "24 chair" not in read and "and 16 more" in read
    empty = LabelMap(np.full((H, W), 255, np.uint8), ("floor",), ((1, 2, 3),), np.zeros((H, W), np.float32))
    answer = replace(painted("semantic", labels=["floor"]), result=empty)
    read = text_of(page_of(perceive(answers=(answer,)), tmp_path=tmp_path))
    assert "0 % of the pixels valid" in read and "nothing named 100 %" in read
