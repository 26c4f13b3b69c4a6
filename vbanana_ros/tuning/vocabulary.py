"""The words that `nano` is trained to read; every other word shares one of a few ids."""

from __future__ import annotations

_WORDS = """
above and any are as at background beside between behind black blue bottom brightest brown by camera closest color
colored colors cyan darkest depth described different differently door each edit empty every far farthest first floor
for front furthest generate gray green grey highest image in input instance is it largest left leftmost legend lower
make map mapping medium metric middle mirror most near nearest next normal normals object of on one orange other paint
painted palette photo picture pink position predict predicts purple rainbow red rendered right rightmost room scene
second segment segmentation semantic shades show small smallest surface tall tallest that this to top turn under upper
using violet visualization visualized wall what which white wide widest with yellow big bigger biggest center centre
dark light large largest little low into from left-hand right-hand sitting standing stands whose objects things thing
class classes area region lowest side sides half corner size sized
floor wall ceiling table chair stool sofa bed cabinet shelf lamp plant box ball mug bottle bowl book pillow monitor bin
rug door window picture cup desk couch armchair cupboard bookcase carton flower cushion screen television carpet frame
person car road sky tree building grass dog cat laptop keyboard mouse phone toy can vase basket curtain sink oven fridge
"""

VOCABULARY: list[str] = sorted(set(_WORDS.split()))
