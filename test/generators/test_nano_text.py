"""How nano reads prompts: words and colours end up in the phrases that they belong to."""

import pytest
import torch

from vbanana_ros.errors import RequestError
from vbanana_ros.generators.nano_text import NanoTextEncoder, NanoTokenizer, Phrase, parse_prompt
from vbanana_ros.tasks import TASKS, make_request

RED, GREEN, BLUE, CYAN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 255, 255), (0, 0, 0)


def pairs(text):
    """The coloured phrases of a prompt, words joined."""
    return [(" ".join(p.words), p.color) for p in parse_prompt(text) if p.color is not None]


def plain(text):
    return [" ".join(p.words) for p in parse_prompt(text) if p.color is None]


@pytest.mark.parametrize("written", ["red", '"red"', "#ff0000", '"#FF0000"', "<255, 0, 0>", "(255,0,0)",
                                     "RGB(255, 0, 0)", "rgb(255, 0, 0)"])
def test_json_with_every_notation_of_a_colour(written):
    assert pairs(f'Segment: {{"cat": {written}, "dog ears": blue}}') == [("cat", RED), ("dog ears", BLUE)]


@pytest.mark.parametrize("verb", ["is", "are", "is in", "is rendered in", "is painted", "are colored in", "is drawn"])
@pytest.mark.parametrize("written", ["red", "#ff0000", "<255, 0, 0>", "RGB(255, 0, 0)"])
def test_prose_with_every_verb_and_notation(verb, written):
    assert pairs(f"A map. The cat {verb} {written}, the dog {verb} blue.") == [("cat", RED), ("dog", BLUE)]


@pytest.mark.parametrize(("text", "expected"), [
    # The paper's own example: the first `is` has no colour after it.
    ("A segmentation map image. The stretching cat is rendered in green, the cat that is cleaning itself is in cyan.",
     [("stretching cat", GREEN), ("cat that is cleaning itself", CYAN)]),
    # A colour within an expression is a word of it.
    ("A map. The red mug is rendered in blue, the background is rendered in black.",
     [("red mug", BLUE), ("background", BLACK)]),
    ("A map. The box that is red is rendered in blue.", [("box that is red", BLUE)]),
    ("The cat is red and the dog is blue.", [("cat", RED), ("dog", BLUE)]),
    ("A map. The red and white cat is in green.", [("red and white cat", GREEN)]),
    ("A map. The chair, left of the table is rendered in red, the ball (far) is rendered in blue.",
     [("chair left of table", RED), ("ball far", BLUE)]),
    # A class may be called as a colour is.
    ('{"orange": blue, "blue": "red"}', [("orange", BLUE), ("blue", RED)]),
    ('{"apple that is red": blue}', [("apple that is red", BLUE)]),
    # Names with colons, apostrophes, hyphens and letters of other alphabets.
    ('{"child\'s chair": red, "don\'t-touch sign": blue}', [("child chair", RED), ("dont touch sign", BLUE)]),
    ("A map. The left-hand mug is rendered in red.", [("left hand mug", RED)]),
    ('{"Stühle": red, "椅子": blue, "a: b": green}', [("stühle", RED), ("椅子", BLUE), ("b", GREEN)]),
    # JSON and prose in one prompt, in the order of the text; a colour that is none is left out.
    ('Segment {"cat": red}. Background is black.', [("cat", RED), ("background", BLACK)]),
    ('{"cat": nocolour, "dog": blue}', [("dog", BLUE)]),
    ("Each chair is colored differently. Background is RGB(88, 50, 82).", [("background", (88, 50, 82))]),
    ('{"cat": light purple}', [("cat", (191, 119, 246))]),
])
def test_colours_are_bound_to_their_own_words(text, expected):
    assert pairs(text) == expected


def test_what_is_between_the_pairs_is_kept_as_plain_phrases():
    text = 'Generate a map, using this color mapping: {"cat": red, "dog": blue} and be careful.'
    assert plain(text) == ["generate map", "using this color mapping", "be careful"]
    assert parse_prompt(text)[-2:] == [Phrase(("cat",), RED), Phrase(("dog",), BLUE)]


def test_every_prompt_of_our_tasks_binds_each_label():
    names = ["red mug", "orange", "the chair that is left", "chair, the big one", "what is blue"]
    for task in ("semantic", "referring"):
        request = make_request(task, names)
        found = pairs(TASKS[task].prompt(request))
        assert [color for _, color in found] == [*request.colors, request.background]
        assert found[0][0] == "red mug" and found[1][0] == "orange" and "left" in found[2][0]


def test_a_colour_beyond_the_range_is_refused():
    with pytest.raises(RequestError, match="0-255"):
        parse_prompt("the cat is (300, 0, 0).")


@pytest.mark.parametrize("text", ["", "   ", "the", "?!", "{}", '"": red'])
def test_prompts_without_words_have_one_token(text):
    batch = NanoTokenizer(["cat"])([text])
    assert batch["ids"].shape[1] == 1 and batch["ids"][0, 0, 0] > 0


def test_ids_known_unknown_and_padding():
    tokenizer = NanoTokenizer(["cat", "dog"], max_words=3)
    first, second = tokenizer(["the cat zebra", "dog. cat"])["ids"]
    assert first[0, 0] == 33 and 1 <= first[0, 1] <= 32 and first[0, 2] == 0 and not first[1].any()
    assert second[:, 0].tolist() == [34, 33]
    assert tokenizer(["zebra"])["ids"][0, 0, 0] == first[0, 1]


def test_of_a_phrase_the_first_words_are_read():
    batch = NanoTokenizer([], max_words=4)([" ".join("abcdefgh") + " is red", "b c d e"])
    assert batch["ids"].shape == (2, 1, 4) and batch["colored"][0, 0]
    assert torch.equal(batch["ids"][0], batch["ids"][1])


def test_many_phrases_all_fit():
    batch = NanoTokenizer([])(["{" + ", ".join(f'"thing {i}": <{i}, 0, 0>' for i in range(200)) + "}"])
    assert batch["colored"].sum() == 200
    assert torch.allclose(batch["colors"][0, :, 0] * 255, torch.arange(200.0))


def test_padding_does_not_change_a_prompt():
    torch.manual_seed(0)
    encoder = NanoTextEncoder(["cat"], dim=32).eval()
    text, longer = "the cat is red.", "a. b. c. d is blue. e is green."
    with torch.no_grad():
        alone, both = encoder(**encoder.tokenizer([text])), encoder(**encoder.tokenizer([text, longer]))
    n = alone.tokens.shape[1]
    assert torch.allclose(alone.tokens[0], both.tokens[0, :n], atol=1e-5)
    assert not both.mask[0, n:].any()


def test_half_precision_takes_the_tokenizers_colours():
    torch.manual_seed(0)
    encoder = NanoTextEncoder(["cat"], dim=32).eval()
    batch = encoder.tokenizer(["the cat is red."])
    with torch.no_grad():
        exact, half = encoder(**batch).tokens, encoder.half()(**batch).tokens
    assert half.dtype == torch.float16 and torch.allclose(exact, half.float(), atol=0.02)


def test_what_a_phrase_says_is_not_drowned_by_what_the_prompt_asks_for():
    """A block that adds the same great vector to all phrases, as one did that was taught perception."""
    encoder = NanoTextEncoder(["mug", "chair"], dim=32).eval()
    with torch.no_grad():
        encoder.prompt_block.ff.net[-1].bias += 1000 * torch.randn(32, generator=torch.Generator().manual_seed(0))
        mug, chair = (encoder(**encoder.tokenizer([word])) for word in ("mug", "chair"))
    assert not torch.allclose(mug.keys, chair.keys, atol=0.1)
    assert torch.allclose(mug.tokens - chair.tokens, mug.keys - chair.keys, atol=0.05)
