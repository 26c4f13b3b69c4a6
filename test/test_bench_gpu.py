"""The benchmark of FLUX.2 klein, on a tiny one: every row is there, and the counted work is what the shapes say."""

import json

import pytest
import torch
from diffusers.models.attention_dispatch import _AttentionBackendRegistry

from vbanana_ros import bench_gpu
from vbanana_ros.bench_gpu import (
    FULL,
    Scale,
    counted,
    described,
    frame_of,
    installed,
    make_pipeline,
    modes,
    prompts_of,
    stock,
    ways,
)
from vbanana_ros.cli import main
from vbanana_ros.errors import ModelError
from vbanana_ros.generators.flux2 import KleinPainter
from vbanana_ros.generators.speed import AUTO, Speed

TINY = Scale("a tiny klein", (96, 128),
             transformer=dict(in_channels=16, num_layers=1, num_single_layers=1, num_attention_heads=1,
                              attention_head_dim=32, axes_dims_rope=(8, 8, 8, 8), joint_attention_dim=3 * 16,
                              timestep_guidance_channels=32),
             text=dict(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=28,
                       num_attention_heads=2, num_key_value_heads=1, head_dim=8),
             vae=dict(down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
                      block_out_channels=(4, 4, 4, 4), layers_per_block=1, latent_channels=4, norm_num_groups=4,
                      mid_block_add_attention=False), rounds=1, steps=(1,))


@pytest.fixture(scope="module")
def prompts():
    return prompts_of(frame_of(TINY)[1])


def test_one_command_prints_and_writes_every_row(monkeypatch, tmp_path, capsys, nano):
    monkeypatch.setattr(bench_gpu, "SMALL", TINY)
    monkeypatch.setattr(bench_gpu, "MIDDLE", TINY)
    monkeypatch.setattr(bench_gpu, "ways", lambda scale, short, device: (AUTO, Speed(max_sequence_length=short)))
    monkeypatch.setattr(bench_gpu, "load_generator", lambda model, device: nano)
    monkeypatch.setattr(bench_gpu, "counted", lambda prompts: [])
    monkeypatch.setattr(bench_gpu.torch.cuda, "is_available", lambda: False)
    rows = bench_gpu.run(tmp_path / "gpu.json")
    compared, others = rows[:16], rows[16:]
    assert len(others) == 2 * 2 + 2 + 2 and all(row.ms > 0 for row in rows)
    assert [row.what for row in compared[::4]] == [
        f"a tiny klein, 0 M{kv}, 5 tasks, {steps} step(s): stock" for kv in ("", ", KV") for steps in (1, 4)]
    assert all(row.ratio == 1 for row in compared[::4])
    assert [row.goal for row in compared] == 4 * ["", "", "", ">= 2.5x"]
    assert [row.plain_ms for row in compared] == 8 * [None] + 4 * [compared[0].ms] + 4 * [compared[4].ms]
    assert all(row.ratio == pytest.approx(row.stock_ms / row.ms) for row in rows[:22])
    assert all((row.plain_ms is None) == ("-kv" not in row.what) for row in others)
    assert others[3].plain_ms == others[1].stock_ms and others[3].stock_ms != others[1].stock_ms
    assert all(0 < row.share <= 100 and row.met == (row.share >= 95) for row in others)
    assert others[5].what == "a tiny klein-kv, 5 task(s), 1 step(s), max_sequence_length 160"
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert [row["what"] for row in record["rows"]] == [row.what for row in rows]
    assert "no GPU here: the CPU" in record["about"] and "no GPU here" in capsys.readouterr().out


def test_every_parameter_of_speed_has_its_ways():
    here = [described(speed) for speed in ways(TINY, 192, "cpu")]
    assert here[:3] == ["as it is", "compile default", "compile default, quantize float8"]
    assert "dtype bfloat16" in here and "dtype float32" not in here  # which a CPU has anyhow
    assert {way.split()[0] for way in here[1:]} == {*Speed.__dataclass_fields__}
    assert {"compile reduce-overhead", "quantize int8", "attention _native_flash", "max_sequence_length 192",
            f"max_area {96 * 64}", "offload text", "offload model"} < {*here} and len({*here}) == len(here)


def test_what_a_machine_cannot_do_is_a_row_that_says_why(monkeypatch):
    asked = (AUTO, Speed(offload="text"), Speed(compile="reduce-overhead"), Speed(attention="sage"),
             Speed(attention="_native_cudnn"), Speed(dtype="bfloat16"))
    monkeypatch.setattr(bench_gpu, "ways", lambda scale, short, device: asked)
    frame, requests = frame_of(TINY)
    rows = modes(TINY, make_pipeline(TINY).text_encoder, "cpu", frame, requests[:2])
    reasons = ["without a GPU no part can wait", "CUDA graphs need a GPU", "missing package", "No viable backend"]
    for row, speed, reason in zip(rows[4:8], asked[1:5], reasons, strict=True):
        assert row.ms is None and row.what.startswith(f"{described(speed)}: not here: ") and reason in row.what
    assert [row.ms > 0 for row in rows[:4] + rows[8:]] == 6 * [True]


def test_ways_share_weights_and_leave_nothing_behind():
    pipeline, before = make_pipeline(TINY), _AttentionBackendRegistry.get_active_backend()
    with installed(TINY, pipeline.text_encoder, Speed(attention="_native_math", dtype="float32"), "cpu") as (own, used):
        assert own.text_encoder is pipeline.text_encoder and own.transformer is not pipeline.transformer
        assert used.attention == "_native_math" and used.offload == "none"
        assert own.transformer.transformer_blocks[0].attn.processor._attention_backend == "_native_math"
        for name in ("transformer", "vae"):
            for mine, theirs in zip(getattr(own, name).parameters(), getattr(pipeline, name).parameters(), strict=True):
                assert torch.equal(mine, theirs)
    assert _AttentionBackendRegistry.get_active_backend() == before
    with pytest.raises(ModelError, match="no part can wait"), \
            installed(TINY, pipeline.text_encoder, Speed(offload="model"), "cpu"):
        pass


@pytest.mark.parametrize("kv", [False, True])
def test_the_stock_call_runs_in_bfloat16_too(kv, prompts):
    """As on a GPU, where our own VAE stays in float32."""
    pipeline = make_pipeline(TINY, torch.bfloat16)
    stock(pipeline, kv, frame_of(TINY)[0], prompts[:1], 1)()
    assert (pipeline.vae.dtype, pipeline.transformer.dtype) == (torch.float32, torch.bfloat16)


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
    assert bench_gpu.bucket(pipeline.tokenizer, ["a b", "c"]) == 32
    assert bench_gpu.bucket(pipeline.tokenizer, ["word " * 60]) == 96


def test_the_command_leads_here(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(bench_gpu, "run", lambda *given: asked.append(given))
    assert main(["bench", "--gpu", "--small", "--json", str(tmp_path / "gpu.json")]) == 0
    assert asked == [(tmp_path / "gpu.json", True)]
