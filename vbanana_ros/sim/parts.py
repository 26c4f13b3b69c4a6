"""Parts: the primitive solids every object is made of, so that each surface has an exact normal."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

BOX, SPHERE, CAPSULE, CYLINDER, ELLIPSOID = "box", "sphere", "capsule", "cylinder", "ellipsoid"


@dataclass(frozen=True)
class Part:
    """One solid.

    shape: box, sphere, capsule, cylinder or ellipsoid.
    size: MuJoCo's half sizes, metres: box and ellipsoid (x, y, z), sphere (r, 0, 0), the others
    (r, half length, 0).
    position: [3] metres; axes: [3, 3] rotation, local to parent.
    tone: what gives the colour: "main", or a key of the object's palette.
    """

    shape: str
    size: tuple[float, float, float]
    position: np.ndarray
    axes: np.ndarray
    tone: str = "main"

    def moved(self, position: np.ndarray, axes: np.ndarray) -> Part:
        """The same part with its parent's frame put at a pose of the grandparent."""
        return replace(self, position=position + axes @ self.position, axes=axes @ self.axes)

    def scaled(self, scale: float) -> Part:
        """The same part as its parent is scaled about its origin."""
        return replace(self, size=tuple(scale * s for s in self.size), position=scale * self.position)

    def half_extent(self) -> np.ndarray:
        """Half sizes [3] of the axis-aligned box around the part, in the parent's frame."""
        a, b, c = self.size
        if self.shape == BOX:
            return np.abs(self.axes) @ (a, b, c)
        if self.shape == CAPSULE:
            return a + b * np.abs(self.axes[:, 2])
        if self.shape == CYLINDER:
            return b * np.abs(self.axes[:, 2]) + a * np.sqrt(np.maximum(0, 1 - self.axes[:, 2] ** 2))
        radii = (a, a, a) if self.shape == SPHERE else (a, b, c)
        return np.sqrt((self.axes ** 2) @ np.square(radii))


def turn(yaw: float) -> np.ndarray:
    """Rotation [3, 3] about the vertical by yaw radians."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def frame_along(direction: np.ndarray) -> np.ndarray:
    """A rotation [3, 3] whose z axis is the direction."""
    z = direction / np.linalg.norm(direction)
    x = np.cross((0, 1, 0) if abs(z[1]) < 0.9 else (1, 0, 0), z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)


def box(x: float, y: float, z: float, sx: float, sy: float, sz: float, tone: str = "main",
        axes: np.ndarray | None = None) -> Part:
    """A box of full sizes sx, sy, sz standing on height z above (x, y)."""
    return Part(BOX, (sx / 2, sy / 2, sz / 2), np.array([x, y, z + sz / 2]),
                np.eye(3) if axes is None else axes, tone)


def cylinder(x: float, y: float, z: float, radius: float, height: float, tone: str = "main") -> Part:
    """An upright cylinder standing on height z above (x, y)."""
    return Part(CYLINDER, (radius, height / 2, 0), np.array([x, y, z + height / 2]), np.eye(3), tone)


def sphere(x: float, y: float, z: float, radius: float, tone: str = "main") -> Part:
    """A sphere whose centre is (x, y, z)."""
    return Part(SPHERE, (radius, 0, 0), np.array([x, y, z]), np.eye(3), tone)


def ellipsoid(x: float, y: float, z: float, rx: float, ry: float, rz: float, tone: str = "main",
              axes: np.ndarray | None = None) -> Part:
    """An ellipsoid whose centre is (x, y, z)."""
    return Part(ELLIPSOID, (rx, ry, rz), np.array([x, y, z]), np.eye(3) if axes is None else axes, tone)


def rod(start: tuple[float, float, float], end: tuple[float, float, float], radius: float,
        tone: str = "main") -> Part:
    """A capsule between two points."""
    a, b = np.array(start, float), np.array(end, float)
    return Part(CAPSULE, (radius, np.linalg.norm(b - a) / 2, 0), (a + b) / 2, frame_along(b - a), tone)


def bounds(parts: list[Part]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner ([3], [3]) of the axis-aligned box around the parts."""
    low = np.min([p.position - p.half_extent() for p in parts], axis=0)
    high = np.max([p.position + p.half_extent() for p in parts], axis=0)
    return low, high
