"""The benchmark of FLUX.2 klein, on a tiny one: every row is there, and the counted work is what the shapes say."""

import json

import pytest

from vbanana_ros import bench_gpu
from vbanana_ros.bench_gpu import FULL, Scale, counted, frame_of, make_pipeline
from vbanana_ros.cli import main
from vbanana_ros.generators.flux2 import KleinPainter
from vbanana_ros.tasks import TASKS

TINY = Scale("a tiny klein", (96, 128),
             transformer=dict(in_channels=16, num_layers=1, num_single_layers=1, num_attention_heads=1,
                              attention_head_dim=32, axes_dims_rope=(8, 8, 8, 8), joint_attention_dim=3 * 16,
                              timestep_guidance_channels=32),
             text=dict(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=28,
                       num_attention_heads=2, num_key_value_heads=1, head_dim=8),
             vae=dict(down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
                      block_out_channels=(4, 4, 4, 4), layers_per_block=1, latent_channels=4, norm_num_groups=4,
                      mid_block_add_attention=False), rounds=1)


@pytest.fixture(scope="module")
def prompts():
    return [TASKS[request.task].prompt(request) for request in frame_of(TINY)[1]]


def test_one_command_prints_and_writes_every_row(monkeypatch, tmp_path, capsys, nano):
    monkeypatch.setattr(bench_gpu, "SMALL", TINY)
    monkeypatch.setattr(bench_gpu, "MODES", {"as it is": lambda transformer, device: None})  # compiling takes a minute
    monkeypatch.setattr(bench_gpu, "load_generator", lambda model, device: nano)
    monkeypatch.setattr(bench_gpu, "counted", lambda prompts: [])
    monkeypatch.setattr(bench_gpu.torch.cuda, "is_available", lambda: False)
    rows = bench_gpu.run(tmp_path / "gpu.json")
    assert len(rows) == 2 * 4 + 2 * 2 * 2 + 2 and all(row.ms > 0 for row in rows)
    assert all(row.ratio == pytest.approx(row.stock_ms / row.ms) for row in rows[8:16])
    assert rows[0].what == "klein: stock, 5 calls" and rows[0].ratio == 1
    assert all(0 < row.share <= 100 and row.met == (row.share >= 95) for row in rows[8:])
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert [row["what"] for row in record["rows"]] == [row.what for row in rows]
    assert "no GPU here: the CPU" in record["about"] and "no GPU here" in capsys.readouterr().out


def test_the_counted_work_is_what_the_shapes_say(prompts, monkeypatch):
    """A pass over L tokens: 13 d^2 weights a token and block, 4 L^2 d for attention (Vaswani et al. 2017)."""
    monkeypatch.setitem(FULL.transformer, "num_layers", 2)
    monkeypatch.setitem(FULL.transformer, "num_single_layers", 3)
    monkeypatch.setitem(FULL.text, "num_hidden_layers", 1)
    rows = {row.what.removeprefix("counted: "): row for row in counted(prompts)}
    d, blocks, length = 24 * 128, 5, 512 + 2 * 30 * 40
    work = 20 * (2 * length * blocks * 13 * d**2 + blocks * 4 * length**2 * d) / 1e12
    whole = rows["klein-4B, 640x480, 5 tasks, 4 step(s), 512 tokens of text"]
    assert work < whole.tera < work + 20  # and the VAE's, and the embedders'
    shared = rows["klein-4B-kv, 640x480, 5 tasks, 4 step(s), 512 tokens of text"]
    assert shared.tera < 0.7 * whole.tera and shared.ratio > whole.ratio > 1


def test_a_tiny_pipeline_is_made_like_the_full_one():
    pipeline = make_pipeline(TINY)
    assert KleinPainter(pipeline).size_multiple == 16 and FULL.size == (480, 640)
    assert bench_gpu.bucket(pipeline, ["a b", "c"]) == 64
    assert bench_gpu.bucket(pipeline, ["word " * 60]) == 128


def test_the_command_leads_here(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(bench_gpu, "run", lambda *given: asked.append(given))
    assert main(["bench", "--gpu", "--small", "--json", str(tmp_path / "gpu.json")]) == 0
    assert asked == [(tmp_path / "gpu.json", True)]
