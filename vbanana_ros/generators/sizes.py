"""The size that a model paints an image at."""

from __future__ import annotations

import math


def painted_size(height: int, width: int, multiple: int, area: int, grow: bool = True) -> tuple[int, int]:
    """(height, width), multiples, for an image of any size: its aspect, at most `area` pixels.

    grow: smaller images are painted as large as may be; else at about their own size.
    """
    scale = math.sqrt(area / (height * width))
    scale = scale if grow else min(1.0, scale)
    rows, cols = (max(1, round(side * scale / multiple)) for side in (height, width))
    # Rounding up both sides, or one of a sliver to 1, must not grow the area: the longer side gives way.
    most = max(1, area // multiple**2)
    if rows <= cols:
        cols = max(1, min(cols, most // rows))
    else:
        rows = max(1, min(rows, most // cols))
    return rows * multiple, cols * multiple
