"""An InstructPix2Pix pipeline of the real classes with tiny random weights, made on the spot: no download, no hub."""

import torch
from diffusers import (
    AutoencoderKL,
    EulerAncestralDiscreteScheduler,
    StableDiffusionInstructPix2PixPipeline,
    UNet2DConditionModel,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer


def tiny_clip(length=256):
    """CLIP's tokenizer, of bytes and so of longer prompts than the real one's 77, and a text model of 32 channels."""
    symbols = sorted(ByteLevel.alphabet())
    symbols += [symbol + "</w>" for symbol in symbols] + ["<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={symbol: i for i, symbol in enumerate(symbols)}, merges=[], model_max_length=length)
    return tokenizer, CLIPTextModel(CLIPTextConfig(
        vocab_size=len(symbols), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        projection_dim=32, max_position_embeddings=length, bos_token_id=len(symbols) - 2,
        eos_token_id=len(symbols) - 1)).eval()


def tiny_pix2pix(seed=0):
    """The pipeline, with the published one's schedule, which adds noise; an image's sides are multiples of 8."""
    torch.manual_seed(seed)
    tokenizer, text_encoder = tiny_clip()
    unet = UNet2DConditionModel(
        in_channels=8, out_channels=4, block_out_channels=(16, 16), layers_per_block=1, norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32, attention_head_dim=2).eval()
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8,) * 4, layers_per_block=1, latent_channels=4, norm_num_groups=4, sample_size=32).eval()
    scheduler = EulerAncestralDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
    return StableDiffusionInstructPix2PixPipeline(vae, text_encoder, tokenizer, unet, scheduler, None, None,
                                                  requires_safety_checker=False)
