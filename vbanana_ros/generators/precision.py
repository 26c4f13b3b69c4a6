"""Which devices multiply in bfloat16 by themselves; where it is emulated it takes ten times as long as float32."""

from __future__ import annotations

import torch


def multiplies_bf16(device: torch.device) -> bool:
    """Whether products in bfloat16 are fast on a device: GPUs, and CPUs with AVX512-BF16, AMX or SVE."""
    if device.type != "cpu":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}  # PyTorch 2.4 has it not
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
