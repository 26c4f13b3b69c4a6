"""Rendering: a view of a scene as picture, depth, normals and labels, all on one pixel grid."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import cv2
import mujoco
import numpy as np

from .furniture import CLASSES
from .gl import open_gl
from .layout import SimObject
from .model import NEAR
from .scene import STUFF_ID, Camera, Scene
from .solids import enter

NO_CLASS = 255
RUN = 8192  # pixels


@dataclass(frozen=True)
class SimFrame:
    """One view with its ground truth; H x W pixels, ROS optical frame (x right, y down, z forward).

    rgb: uint8 [H, W, 3]. depth: float32 [H, W], metres along the optical axis, exact; +inf where nothing is.
    normals: float32 [H, W, 3], exact, unit, toward the camera; NaN where nothing is.
    classes: uint8 [H, W], index in names, 255 where nothing is.
    instances: uint16 [H, W], object id; 65535 for floor, wall, ceiling and nothing.
    objects: all objects of the scene, seen or not; objects[i].id == i.
    K: float64 [3, 3], pixels; a pixel's centre has integer coordinates. camera: the pose in the world.
    names: of the classes; those of CLASSES come first.
    """

    rgb: np.ndarray
    depth: np.ndarray
    normals: np.ndarray
    classes: np.ndarray
    instances: np.ndarray
    objects: list[SimObject]
    K: np.ndarray
    camera: Camera
    names: tuple[str, ...] = CLASSES


class Renderer:
    """Draws scenes at one size, off screen, one scene after the other in one GL context.

    Raises SimError where there is no OpenGL. Not to be shared by threads.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._gl = open_gl(width, height)
        self._free = weakref.finalize(self, self._gl.free)  # also at exit, while OpenGL's bindings still work
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._context: mujoco.MjrContext | None = None
        self._scene: Scene | None = None

    def render(self, scene: Scene, camera: Camera) -> SimFrame:
        """Draw a view of a scene; views of the same scene in a row are cheapest."""
        self._gl.make_current()
        if scene is not self._scene:
            self._load(scene)
        self._aim(camera)
        rgb, geoms = self._draw(segment=False), self._geom_ids(self._draw(segment=True))
        K = camera.intrinsics(self.width, self.height)
        depth, normals = surfaces(scene, camera, K, geoms)
        seen = geoms >= 0
        return SimFrame(rgb=smooth_edges(rgb, geoms), depth=depth, normals=normals,
                        classes=np.where(seen, scene.geom_class[geoms], NO_CLASS).astype(np.uint8),
                        instances=np.where(seen, scene.geom_object[geoms], STUFF_ID).astype(np.uint16),
                        objects=scene.objects, K=K, camera=camera, names=scene.names)

    def close(self) -> None:
        """Give the GL context back; the renderer cannot be used afterwards."""
        if self._context is not None:
            self._gl.make_current()
            self._context.free()
            self._context = None
        self._free()

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _load(self, scene: Scene) -> None:
        """Upload a scene's textures and list its geoms."""
        if self._context is not None:
            self._context.free()
        scene.model.vis.global_.offwidth, scene.model.vis.global_.offheight = self.width, self.height
        self._context = mujoco.MjrContext(scene.model, mujoco.mjtFontScale.mjFONTSCALE_50)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._view = mujoco.MjvScene(scene.model, maxgeom=scene.model.ngeom)
        self._view.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        mujoco.mjv_updateScene(scene.model, scene.data, mujoco.MjvOption(), None, mujoco.MjvCamera(),
                               mujoco.mjtCatBit.mjCAT_ALL, self._view)
        self._scene = scene

    def _aim(self, camera: Camera) -> None:
        """Put the drawing camera, and the light that it carries, at a pose."""
        far = self._scene.model.vis.map.zfar * self._scene.model.stat.extent
        half = NEAR * np.tan(np.radians(camera.fovy) / 2)
        for eye in self._view.camera:
            eye.pos, eye.forward, eye.up = camera.position, camera.axes[:, 2], -camera.axes[:, 1]
            eye.frustum_bottom, eye.frustum_top = -half, half
            eye.frustum_center, eye.frustum_width = 0, half * self.width / self.height
            eye.frustum_near, eye.frustum_far = NEAR, far
        for light in self._view.lights[:self._view.nlight]:
            if light.headlight:
                light.pos, light.dir = camera.position, camera.axes[:, 2]

    def _draw(self, segment: bool) -> np.ndarray:
        """One pass: uint8 [H, W, 3], the colours or the geoms' id colours."""
        self._view.flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = segment
        self._view.flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = segment
        image = np.empty((self.height, self.width, 3), np.uint8)
        mujoco.mjr_render(self._rect, self._view, self._context)
        mujoco.mjr_readPixels(image, None, self._rect, self._context)
        return image[::-1]

    def _geom_ids(self, image: np.ndarray) -> np.ndarray:
        """Geom id int32 [H, W] of each pixel of an id picture, -1 where nothing is."""
        segments = image.astype(np.int32) @ np.array([1, 256, 65536], np.int32) - 1
        ids = np.full(self._view.ngeom + 1, -1, np.int32)
        for geom in self._view.geoms[:self._view.ngeom]:
            ids[geom.segid] = geom.objid
        return ids[segments]


def surfaces(scene: Scene, camera: Camera, K: np.ndarray, geoms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depth float32 [H, W] and normals float32 [H, W, 3] from the geom id [H, W] of each pixel.

    The picture says which solid a pixel shows; where its ray enters that solid is computed, so neither the
    z-buffer's steps nor the facets of drawn spheres show in the result.
    """
    depth = np.full(geoms.size, np.inf, np.float32)
    normals = np.full((geoms.size, 3), np.nan, np.float32)
    model, data = scene.model, scene.data
    order = np.argsort(geoms.ravel().astype(np.int16), kind="stable")
    # Runs of one geom's pixels, short enough to stay in the processor's cache.
    cuts = np.union1d(np.flatnonzero(np.diff(geoms.ravel()[order])) + 1, np.arange(RUN, len(order), RUN))
    for pixels in np.split(order, cuts):
        v, u = np.divmod(pixels, geoms.shape[1])
        g = geoms[v[0], u[0]]
        if g < 0:
            continue
        axes = data.geom_xmat[g].reshape(3, 3)
        to_camera = camera.axes.T @ axes
        ray = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones(len(u))], axis=1)
        origin = (camera.position - data.geom_xpos[g]) @ axes
        t, normal = enter(model.geom_type[g], model.geom_size[g][None], origin[None], ray @ to_camera)
        normal = normal @ to_camera.T
        normal[(normal * ray).sum(1) > 0] *= -1
        depth[pixels], normals[pixels] = t, normal  # the ray has z = 1, so t is the planar depth
    return depth.reshape(geoms.shape), normals.reshape(*geoms.shape, 3)


def smooth_edges(rgb: np.ndarray, geoms: np.ndarray) -> np.ndarray:
    """The picture with the pixels on solids' edges blended with their neighbours, as a lens does."""
    edge = np.zeros(geoms.shape, bool)
    across, down = geoms[:, 1:] != geoms[:, :-1], geoms[1:] != geoms[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return np.where(edge[..., None], cv2.GaussianBlur(rgb, (3, 3), 0.6), rgb)
