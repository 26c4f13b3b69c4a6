"""Mixtures: what a file says is what is drawn, and what it says wrongly is named."""

from collections import Counter

import numpy as np
import pytest

from vbanana_ros.errors import InputError
from vbanana_ros.tuning import mixture as module
from vbanana_ros.tuning.mixture import PICTURES, TASKS, Mixture, read_mixture
from vbanana_ros.tuning.records import Listed, Record


def records(name, broken=()):
    def read(key):
        if key in broken:
            raise ValueError("cut short")
        return Record(np.zeros((2, 2, 3), np.uint8), f"{name} {key}")
    return Listed(name, range(4), read)


@pytest.fixture
def sets(monkeypatch):
    """Sets `a` and `b`, opened by name; the calls that opened them."""
    calls = []

    def open_set(name, folder, split):
        calls.append((name, folder, split))
        return records(name)
    monkeypatch.setattr(module, "open_set", open_set)
    return calls


def test_records_come_by_the_shares_of_their_sets():
    mixture = Mixture([(records("a"), 3.0), (records("b"), 1.0)])
    rng, broken = np.random.default_rng(0), []
    drawn = Counter(mixture.draw(rng, broken).name for _ in range(4000))
    assert len(drawn) == 8 and not broken
    assert sum(n for name, n in drawn.items() if name[0] == "a") == pytest.approx(3000, abs=100)


def test_what_is_broken_is_left_out_and_named():
    mixture = Mixture([(records("a", broken={1}), 1.0)])
    rng, broken = np.random.default_rng(0), []
    assert {mixture.draw(rng, broken).name for _ in range(50)} == {"a 0", "a 2", "a 3"}
    assert set(broken) == {"a 1 cannot be read (cut short); copy it again"}
    with pytest.raises(InputError, match="20 records in a row cannot be read, such as: a"):
        Mixture([(records("a", broken=range(4)), 1.0)]).draw(rng, [])


def test_tasks_come_by_their_shares_and_once_each():
    mixture, rng = Mixture([(records("a"), 1.0)], {"depth": 3.0, "normals": 1.0}), np.random.default_rng(0)
    first = Counter(mixture.choose(mixture.tasks, rng, 1)[0] for _ in range(2000))
    assert first["depth"] == pytest.approx(1500, abs=80)
    assert sorted(mixture.choose(mixture.tasks, rng, 2)) == ["depth", "normals"]
    with pytest.raises(InputError, match="3 prompts .* but each of depth, normals is asked once; ask fewer"):
        mixture.choose(mixture.tasks, rng, 3)
    with pytest.raises(InputError, match="2 prompts about an image"):
        mixture.choose({"depth": 1.0, "normals": 0.0}, rng, 2)
    assert mixture.choose(mixture.tasks, rng, 0) == []


def test_a_file(tmp_path, sets):
    path = tmp_path / "mixture.yaml"
    path.write_text("sets:\n- {set: a, folder: data/a, share: 3}\n- {set: b, folder: /b, split: val}\n"
                    "tasks: {depth: 2, semantic: 1, normals: 0}\npictures: {edit: 1}\n")
    mixture = read_mixture(path)
    assert [(s.name, share) for s, share in mixture.sets] == [("a", 3.0), ("b", 1.0)]
    assert sets == [("a", tmp_path / "data/a", "train"), ("b", tmp_path / "/b", "val")]
    assert mixture.tasks == {"depth": 2.0, "semantic": 1.0} and mixture.pictures == {"edit": 1.0}
    path.write_text("sets: [{set: a, folder: a}]\n")
    assert (read_mixture(path).tasks, read_mixture(path).pictures) == (TASKS, PICTURES)
    assert (read_mixture(path).augment, read_mixture(path).painted) == (0.0, ())


def test_pictures_from_text_have_sets_of_their_own_where_they_are_given(tmp_path, sets):
    path = tmp_path / "mixture.yaml"
    path.write_text("sets: [{set: a, folder: a}]\npainted: [{set: b, folder: b, share: 2}]\n")
    mixture, rng = read_mixture(path), np.random.default_rng(0)
    assert [(s.name, share) for s, share in mixture.painted] == [("b", 2.0)]
    assert {mixture.draw_painted(rng, []).name[0] for _ in range(20)} == {"b"}
    assert {mixture.draw(rng, []).name[0] for _ in range(20)} == {"a"}
    assert {Mixture(mixture.sets).draw_painted(rng, []).name[0] for _ in range(20)} == {"a"}


@pytest.mark.parametrize(("said", "strength"), [("plain", 0.0), ("wild", 1.0), ("0.4", 0.4), ("1", 1.0)])
def test_augmentation_by_name_or_strength(tmp_path, sets, said, strength):
    path = tmp_path / "mixture.yaml"
    path.write_text(f"sets: [{{set: a, folder: a}}]\naugment: {said}\n")
    assert read_mixture(path).augment == strength


def test_scenes_are_a_set_like_others(tmp_path, sim_frame):
    from vbanana_ros.tuning.scenes import save_frame, scene_path

    save_frame(scene_path(tmp_path, 7, 0), sim_frame)
    path = tmp_path / "mixture.yaml"
    path.write_text("sets: [{set: scenes, folder: .}]\n")
    records, share = read_mixture(path).sets[0]
    assert (records.name, len(records), share, records[0].name) == ("scenes", 2, 1.0, "0000007_0")


@pytest.mark.parametrize(("text", "wrong"), [
    ("sets: [", "cannot be read"), ("", "no list of sets"), ("sets: []", "no list of sets"), ("[a]", "no list of sets"),
    ("sets: [{set: a, folder: a}]\npainted: []", "no list of painted"),
    ("sets: [{set: a}]", "needs set and folder"), ("sets: [a]", "needs set and folder"),
    ("sets: [{set: a, folder: a, weight: 2}]", "needs set and folder"),
    ("sets: [{set: a, folder: a, share: 0}]", "share 0 of 'a' must be a number above 0"),
    ("sets: [{set: a, folder: a, share: yes}]", "share True"),
    ("sets: [{set: a, folder: a}]\ntask: {depth: 1}", "does not know 'task'"),
    ("sets: [{set: a, folder: a}]\ntasks: {dept: 1}", "must be shares"),
    ("sets: [{set: a, folder: a}]\ntasks: {depth: -1}", "must be shares"),
    ("sets: [{set: a, folder: a}]\ntasks: {depth: 0}", "must be shares"),
    ("sets: [{set: a, folder: a}]\npictures: 3", "must be shares"),
    ("sets: [{set: a, folder: a}]\naugment: strong", "augment 'strong' must be plain, wild or a number"),
    ("sets: [{set: a, folder: a}]\naugment: 1.5", "augment 1.5 must be"),
    ("sets: [{set: a, folder: a}]\naugment: [wild]", "must be plain, wild"),
])
def test_what_is_not_understood_is_named(tmp_path, sets, text, wrong):
    path = tmp_path / "mixture.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=wrong) as error:
        read_mixture(path)
    assert "mixture.yaml" in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="gone.yaml.*cannot be read"):
        read_mixture(tmp_path / "gone.yaml")
