"""Several askings of one question: legends with their colours permuted, and the majority of the answers.

A generator that is unsure of a class may lean toward one colour; under another legend it leans toward another class,
and what most legends agree on is left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vbanana_ros.results import LabelMap
from vbanana_ros.tasks import Request

# The tasks whose requests have a legend to permute.
VOTED = ("semantic", "referring")


def ballots(request: Request, count: int, seed: int = 0) -> list[Request]:
    """The request itself and up to count - 1 others that give its colours to its labels in another order.

    No two are the same, so there are at most as many as orders; a request without a legend has but one. The background
    keeps its colour. Same arguments, same ballots.
    """
    n = len(request.colors) if request.task in VOTED else 1
    rng, orders = np.random.default_rng(seed), {tuple(range(n)): None}
    # 20 labels have more orders than anybody counts.
    while len(orders) < min(count, math.factorial(min(n, 20))):
        orders[tuple(rng.permutation(n).tolist())] = None
    return [replace(request, colors=tuple(request.colors[i] for i in order)) if n > 1 else request for order in orders]


def elect(results: Sequence[LabelMap]) -> LabelMap:
    """The label that most results give each pixel, in the colours of the first; of equals the first result's, else
    the lowest. Confidence is the share of the results that agree. Arrays are numpy, on one pixel grid.
    """
    first = results[0].labels
    labels, most = first.copy(), sum((r.labels == first).astype(np.uint16) for r in results)
    for label in np.unique(np.concatenate([np.unique(r.labels) for r in results])):
        votes = sum((r.labels == label).astype(np.uint16) for r in results)
        wins = votes > most
        labels[wins], most[wins] = label, votes[wins]
    return replace(results[0], labels=labels, confidence=(most / len(results)).astype(np.float32))
