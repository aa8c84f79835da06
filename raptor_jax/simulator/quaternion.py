"""Quaternions (w, x, y, z), body to world (L2F `quaternion_helper.h`)."""

from typing import Self

import jax
import jax.numpy as jnp
from flax import struct

from raptor_jax.simulator.vector import Vec, cross, scalars


class Quat(struct.PyTreeNode):
    """An orientation, body to world; each component is a scalar []."""

    w: jax.Array
    x: jax.Array
    y: jax.Array
    z: jax.Array

    @classmethod
    def of(cls, array: jax.Array) -> Self:
        """Returns the quaternion with the components of an array [4]."""
        return cls(*scalars(array))

    def array(self) -> jax.Array:
        """Returns the components as an array [4]."""
        return jnp.stack([self.w, self.x, self.y, self.z])


def derivative(orientation: Quat, angular_velocity: Vec) -> Quat:
    """Returns q' = 1/2 q * (0, omega) for body rates in rad/s."""
    w, x, y, z = orientation.w, orientation.x, orientation.y, orientation.z
    p, q, r = angular_velocity.x, angular_velocity.y, angular_velocity.z
    return Quat(
        0.5 * (-x * p - y * q - z * r),
        0.5 * (w * p + y * r - z * q),
        0.5 * (w * q + z * p - x * r),
        0.5 * (w * r + x * q - y * p),
    )


def rotate(orientation: Quat, vector: Vec) -> Vec:
    """Returns a body-frame vector in the world frame, for a unit orientation."""
    axis = Vec(orientation.x, orientation.y, orientation.z)
    turned = cross(axis, vector) * 2
    return vector + turned * orientation.w + cross(axis, turned)


def normalized(orientation: Quat) -> Quat:
    """Returns the quaternion divided by its norm."""
    w, x, y, z = orientation.w, orientation.x, orientation.y, orientation.z
    norm = jnp.sqrt(w * w + x * x + y * y + z * z)
    return Quat(w / norm, x / norm, y / norm, z / norm)


def rotation_matrix(orientation: Quat) -> tuple[jax.Array, ...]:
    """Returns the rotation matrix, body to world, of a unit orientation: nine entries, row by row."""
    w, x, y, z = orientation.w, orientation.x, orientation.y, orientation.z
    return (
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip


def from_axis_angle(axis: jax.Array, angle: jax.Array) -> jax.Array:
    """Returns the orientation [4] of a rotation by an angle [] in rad about a unit axis [3]."""
    return jnp.concatenate([jnp.cos(angle / 2)[None], jnp.sin(angle / 2) * axis])


def heading(orientation: jax.Array) -> jax.Array:
    """Returns the horizontal part [2] of the body's x axis, world frame, for a unit orientation [4]."""
    w, x, y, z = orientation
    return jnp.stack([1 - 2 * (y * y + z * z), 2 * (w * z + x * y)])
