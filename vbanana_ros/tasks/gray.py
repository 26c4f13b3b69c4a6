"""Depth painted in shades of grey: metric, linear or logarithmic, or the relative inverse depth of other models."""

from __future__ import annotations

import math

import torch

from vbanana_ros.results import Array, DepthMap
from vbanana_ros.tasks.base import MAX_RESIDUAL, Request, as_pixels, as_tensor, confidence_of, like
from vbanana_ros.tasks.wording import Wording

# Shades this near white are the end of a metric scale: its far end or farther, +inf.
WHITE = 1 - 2 / 255


class Gray:
    """`depth`: black at the camera to white at `far` metres and farther, linear."""

    name, metric = "depth", True
    near, far = 0.0, 80.0

    def __init__(self, wording: Wording | None = None) -> None:
        self.wording = wording or Wording(
            "Predict the metric depth of this scene as an image. Visualized in grayscale, "
            f"{self._scale} from black at {self.near:g} m to white at {self.far:g} m.")

    _scale = "linear"

    def prompt(self, request: Request) -> str:
        """Its wording; there is nothing to fill in."""
        return self.wording.fill(request)

    def decode(self, rgb: Array, request: Request, max_residual: float = MAX_RESIDUAL) -> DepthMap:
        """Float RGB [H, W, 3] in 0..1 -> depth by the shade of the nearest grey.

        Channels beyond 0..1 are clamped. A colour further than max_residual (0-255 scale) from every grey is NaN.
        Raises TypeError for integer images.
        """
        pixels = as_pixels(rgb).clamp(0, 1)
        shade = pixels.mean(1)
        residual = 255 * (pixels - shade[:, None]).square().sum(1).sqrt()
        depth = torch.where(residual <= max_residual, self._unshaded(shade), torch.nan)
        confidence = confidence_of(residual, max_residual)
        shape = rgb.shape[:2]
        return self._result(like(depth.reshape(shape), rgb), like(confidence.reshape(shape), rgb))

    def encode(self, result: DepthMap, request: Request) -> Array:
        """Depth [H, W] -> float32 grey RGB [H, W, 3]; NaN is painted black."""
        shade = self._shaded(as_tensor(result.depth), result).nan_to_num(0.0).clamp(0, 1)
        return like(shade[..., None].repeat(1, 1, 3), result.depth)

    def _result(self, depth: Array, confidence: Array) -> DepthMap:
        return DepthMap(depth, confidence)

    def _unshaded(self, shade: torch.Tensor) -> torch.Tensor:
        return torch.where(shade > WHITE, torch.inf, self.far * shade)

    def _shaded(self, depth: torch.Tensor, result: DepthMap) -> torch.Tensor:
        return depth / self.far


class LogGray(Gray):
    """`depth`: black at `near` metres and nearer to white at `far` metres and farther, logarithmic."""

    near = 0.25
    _scale = "logarithmic"

    def _unshaded(self, shade: torch.Tensor) -> torch.Tensor:
        return torch.where(shade > WHITE, torch.inf, self.near * (shade * math.log(self.far / self.near)).exp())

    def _shaded(self, depth: torch.Tensor, result: DepthMap) -> torch.Tensor:
        return (depth.clamp(min=self.near) / self.near).log() / math.log(self.far / self.near)


class InverseGray(Gray):
    """`depth`: inverse depth between the picture's own extremes, the nearest white: relative, no metres.

    Results are 1 - shade: 0 at the nearest, 1 at the farthest or the sky, and affine in inverse depth.
    """

    metric = False

    def __init__(self, wording: Wording | None = None) -> None:
        super().__init__(wording or Wording("Predict the relative depth of this scene as an image. Visualized in "
                                            "grayscale as inverse depth: near is bright and far is dark."))

    def _result(self, depth: Array, confidence: Array) -> DepthMap:
        return DepthMap(depth, confidence, metric=False, inverse=True)

    def _unshaded(self, shade: torch.Tensor) -> torch.Tensor:
        return 1 - shade

    def _shaded(self, depth: torch.Tensor, result: DepthMap) -> torch.Tensor:
        """Of metres too: 1 / depth, stretched over 0..1 where it differs at all; sky is 0 metres' other end."""
        if not result.metric:
            return 1 - depth
        inverse = 1 / torch.where(depth > 0, depth, torch.nan)
        known = inverse[~inverse.isnan()]
        if not known.numel() or known.max() == known.min():
            return inverse * 0
        return (inverse - known.min()) / (known.max() - known.min())

