"""A FluxKontextPipeline of the real classes with tiny random weights, made on the spot: no download, no hub."""

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxKontextPipeline, FluxTransformer2DModel
from tiny_pix2pix import tiny_clip
from transformers import T5Config, T5EncoderModel, T5Tokenizer


def tiny_kontext(seed=0):
    """The pipeline; an image's sides are multiples of 16."""
    torch.manual_seed(seed)
    tokenizer, text_encoder = tiny_clip()
    pieces = ["<pad>", "</s>", "<unk>", "▁", *(chr(i) for i in range(33, 127))]
    tokenizer_2 = T5Tokenizer(vocab=[(piece, -1.0) for piece in pieces], extra_ids=0)
    text_encoder_2 = T5EncoderModel(T5Config(
        vocab_size=len(tokenizer_2), d_model=32, d_kv=16, d_ff=32, num_layers=1, num_heads=2)).eval()
    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, guidance_embeds=True, axes_dims_rope=(4, 6, 6)).eval()
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8,) * 4, layers_per_block=1, latent_channels=4, norm_num_groups=4, sample_size=32,
        scaling_factor=0.36, shift_factor=0.12, use_quant_conv=False, use_post_quant_conv=False).eval()
    return FluxKontextPipeline(FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), vae, text_encoder,
                               tokenizer, text_encoder_2, tokenizer_2, transformer)
