"""How `nano` reads a prompt: as phrases, each a few words and perhaps a colour.

A colour, however it is written (word, hex, tuple), is read as its RGB value, so that any colour works and not
only named ones; a class and its colour make ONE token, so that neither can be bound to another's partner.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import AttnProcessor
from torch import nn

from vbanana_ros.colors import RGB, find_color

_JSON_KEY = re.compile(r'"([^"]+)"\s*:\s*"?')
_IS = re.compile(r"\s(?:is|are)\s+(?:(?:rendered|colored|coloured|painted|shown|drawn)\s+)?(?:in\s+)?", re.IGNORECASE)
# What a label cannot reach across: the end of a sentence, not a comma or a parenthesis of an expression.
_SENTENCE = re.compile(r"[.;:!?](?=\s)|[{}\n]")
_BREAK = re.compile(r"[.,;:{}()\n]|\band\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")
_POSSESSIVE = re.compile(r"['’]s?\b")
_ARTICLES = {"a", "an", "the"}


@dataclass(frozen=True)
class Phrase:
    """A few lower-case words of a prompt and the colour they are to be painted in, if any (RGB 0-255)."""

    words: tuple[str, ...]
    color: RGB | None = None


def parse_prompt(text: str) -> list[Phrase]:
    """A prompt, JSON or prose, as phrases: the words between class-colour pairs, then the pairs in their order.

    Raises RequestError for a colour tuple beyond 0-255.
    """
    plain, pairs, position = [], [], 0
    for match in _JSON_KEY.finditer(text):
        if color := find_color(text[match.end():]):
            _parse_prose(text[position:match.start()], plain, pairs)
            pairs.append(Phrase(_words(match.group(1)), color[0]))
            position = match.end() + color[1]
            position += text[position:position + 1] == '"'
    _parse_prose(text[position:], plain, pairs)
    return plain + pairs


def _parse_prose(text: str, plain: list[Phrase], pairs: list[Phrase]) -> None:
    """Each `label is rendered in colour` goes to pairs, what is between them to plain.

    The last one of a clause counts: in "the box that is red is in blue", `the box that is red` is the label.
    """
    found = [(match, *color) for match in _IS.finditer(text) if (color := find_color(text[match.end():]))]
    position = 0
    for (match, color, length), following in zip_longest(found, found[1:]):
        end = match.end() + length
        if following and not _BREAK.search(text, end, following[0].start()):
            continue
        start = max([position, *(b.end() for b in _SENTENCE.finditer(text, position, match.start()))])
        plain += _plain(text[position:start])
        pairs.append(Phrase(_words(text[start:match.start()]), color))
        position = end
    plain += _plain(text[position:])


def _plain(text: str) -> list[Phrase]:
    return [Phrase(words) for piece in _BREAK.split(text) if (words := _words(piece))]


def _words(text: str) -> tuple[str, ...]:
    """Lower-case words without articles, possessive endings and an `and` in front."""
    words = [w for w in _WORD.findall(_POSSESSIVE.sub("", text.lower())) if w not in _ARTICLES]
    return tuple(words[1:] if words[:1] == ["and"] else words)


class NanoTokenizer:
    """Words -> ids: those of the vocabulary, and a few shared ids for all words that it does not know.

    Id 0 is padding; ids 1..unknown are the shared ones, by the CRC of the word. Of a phrase the first max_words
    words are read: no label needs more, and the painter has no place for them.
    """

    unknown = 32

    def __init__(self, vocabulary: Sequence[str], max_words: int = 12) -> None:
        self.ids = {word: i + 1 + self.unknown for i, word in enumerate(vocabulary)}
        self.max_words = max_words

    def __call__(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Prompts -> `ids` int64 [N, P, W], `colors` float32 [N, P, 3] in 0..1, `colored` bool [N, P]."""
        prompts = [parse_prompt(text) or [Phrase(())] for text in texts]
        n, p = len(prompts), max(len(prompt) for prompt in prompts)
        ids = torch.zeros(n, p, self.max_words, dtype=torch.long)
        colors, colored = torch.zeros(n, p, 3), torch.zeros(n, p, dtype=torch.bool)
        for i, prompt in enumerate(prompts):
            for j, phrase in enumerate(prompt):
                row = [self._id(word) for word in phrase.words[:self.max_words]] or [1]
                ids[i, j, :len(row)] = torch.tensor(row)
                if phrase.color is not None:
                    colors[i, j], colored[i, j] = torch.tensor(phrase.color) / 255, True
        return {"ids": ids, "colors": colors, "colored": colored}

    def _id(self, word: str) -> int:
        return self.ids.get(word) or 1 + zlib.crc32(word.encode()) % self.unknown


@dataclass
class PromptTokens:
    """Embedded prompts. N prompts of at most P phrases.

    tokens: [N, P, D], what the painter attends to; keys: [N, P, D], the phrases without their colours;
    mask: bool [N, P], False on padding; colors: [N, P, 3] in 0..1; colored: bool [N, P].
    """

    tokens: torch.Tensor
    keys: torch.Tensor
    mask: torch.Tensor
    colors: torch.Tensor
    colored: torch.Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    def select(self, index: torch.Tensor) -> PromptTokens:
        """These prompts, in this order."""
        return PromptTokens(self.tokens[index], self.keys[index], self.mask[index], self.colors[index],
                            self.colored[index])


class NanoTextEncoder(ModelMixin, ConfigMixin):
    """Phrases -> one token each: its words in order, its colour by value, and then the whole prompt."""

    @register_to_config
    def __init__(self, vocabulary: list[str], dim: int = 128, max_words: int = 12, color_bands: int = 4) -> None:
        super().__init__()
        self.tokenizer = NanoTokenizer(vocabulary, max_words)
        self.word = nn.Embedding(len(vocabulary) + 1 + NanoTokenizer.unknown, dim, padding_idx=0)
        self.place = nn.Parameter(torch.randn(max_words, dim) * 0.1)
        self.phrase_block = _block(dim)
        self.phrase_norm = nn.LayerNorm(dim)
        self.color = nn.Sequential(nn.Linear(3 * (1 + 2 * color_bands), dim), nn.SiLU(), nn.Linear(dim, dim),
                                   nn.LayerNorm(dim))
        self.no_color = nn.Parameter(torch.zeros(dim))
        self.prompt_block = _block(dim)
        self.prompt_norm = nn.LayerNorm(dim)
        # What each phrase says by itself, past the block, which drowns it where the task alone matters.
        self.content = nn.Linear(dim, dim, bias=False)
        nn.init.eye_(self.content.weight)

    def forward(self, ids: torch.Tensor, colors: torch.Tensor, colored: torch.Tensor) -> PromptTokens:
        """The tokenizer's tensors -> embedded prompts."""
        n, p, w = ids.shape
        known = (ids != 0).reshape(n * p, w)
        words = self.word(ids.reshape(n * p, w)) + self.place[:w]
        words = self.phrase_block(words, attention_mask=_bias(known, words))
        count = known.sum(1, keepdim=True).clamp(min=1)
        keys = self.phrase_norm((words * known[..., None]).sum(1) / count).reshape(n, p, -1)
        mask = known.any(1).reshape(n, p)
        color = torch.where(colored[..., None], self.color(self._fourier(colors.to(keys.dtype))), self.no_color)
        tokens = self.prompt_block(keys + color, attention_mask=_bias(mask, keys))
        return PromptTokens(self.prompt_norm(tokens) + self.content(keys), keys, mask, colors, colored)

    def _fourier(self, colors: torch.Tensor) -> torch.Tensor:
        bands = [torch.pi * 2**k * colors for k in range(self.config.color_bands)]
        return torch.cat([colors, *(f(b) for b in bands for f in (torch.sin, torch.cos))], -1)


def _block(dim: int) -> BasicTransformerBlock:
    block = BasicTransformerBlock(dim, num_attention_heads=4, attention_head_dim=dim // 4)
    block.attn1.set_processor(AttnProcessor())  # so few tokens: plain matrix products beat the CPU's fused kernel
    return block


def _bias(mask: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """bool [N, T] -> what diffusers' attention adds to its logits, [N, 1, T]."""
    return (~mask).to(like.dtype)[:, None] * -10000.0
