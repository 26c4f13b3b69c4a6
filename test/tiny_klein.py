"""A Flux2KleinPipeline of the real classes with tiny random weights, made on the spot: no download, no hub."""

import torch
from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline, Flux2Transformer2DModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import Qwen2Tokenizer, Qwen3Config, Qwen3ForCausalLM

CHAT = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def tiny_klein(seed=0, heads=2, head_dim=16, layers=1, single_layers=2, blocks=(16, 16), latent=4):
    """The pipeline; an image's sides are multiples of 2^len(blocks)."""
    torch.manual_seed(seed)
    vocab = {symbol: i for i, symbol in enumerate(sorted(ByteLevel.alphabet()))} | {"<|endoftext|>": 256}
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=[], chat_template=CHAT)
    # The pipeline reads hidden states 9, 18 and 27.
    text_encoder = Qwen3ForCausalLM(Qwen3Config(
        vocab_size=len(vocab), hidden_size=16, intermediate_size=32, num_hidden_layers=27, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=1024)).eval()
    transformer = Flux2Transformer2DModel(
        in_channels=4 * latent, num_layers=layers, num_single_layers=single_layers, attention_head_dim=head_dim,
        num_attention_heads=heads, joint_attention_dim=3 * 16, axes_dims_rope=(head_dim // 4,) * 4,
        timestep_guidance_channels=32, guidance_embeds=False).eval()
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * len(blocks), up_block_types=("UpDecoderBlock2D",) * len(blocks),
        block_out_channels=blocks, layers_per_block=1, latent_channels=latent, norm_num_groups=4, sample_size=32,
        mid_block_add_attention=False).eval()
    return Flux2KleinPipeline(FlowMatchEulerDiscreteScheduler(), vae, text_encoder, tokenizer, transformer,
                              is_distilled=True)


def pass_through(vae, large=30.0):
    """Make a VAE of one block without shrinking encode and decode any image as it is, to 1e-3.

    Random weights keep next to nothing of an image, and what cannot be decoded cannot be learnt. Norms stand in the
    way: two channels of each group hold a large constant, against which the image's own two, x and -x, do not change
    the group's variance; and silu(x) - silu(-x) = x.
    """
    with torch.no_grad():
        for name, parameter in vae.named_parameters():
            if "norm" not in name:
                parameter.zero_()
        for half in (vae.encoder, vae.decoder):
            group = half.conv_in.out_channels // 4
            for c in range(3):
                half.conv_in.bias[c * group], half.conv_in.bias[c * group + 1] = large, -large
                for k, sign in ((2, 1), (3, -1)):
                    half.conv_in.weight[c * group + k, c, 1, 1] = sign
                    half.conv_out.weight[c, c * group + k, 1, 1] = sign * large * (2 / group) ** 0.5
        for conv in (vae.quant_conv, vae.post_quant_conv):
            for c in range(3):
                conv.weight[c, c, 0, 0] = 1
