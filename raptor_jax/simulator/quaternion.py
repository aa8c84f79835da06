"""Quaternions (w, x, y, z), body to world (L2F `quaternion_helper.h`)."""

import jax
import jax.numpy as jnp


def derivative(orientation: jax.Array, angular_velocity: jax.Array) -> jax.Array:
    """Returns q' = 1/2 q * (0, omega) for orientation [4] and body rates [3] in rad/s."""
    w, x, y, z = orientation
    p, q, r = angular_velocity
    return 0.5 * jnp.stack(
        [
            -x * p - y * q - z * r,
            w * p + y * r - z * q,
            w * q + z * p - x * r,
            w * r + x * q - y * p,
        ]
    )


def rotate(orientation: jax.Array, vector: jax.Array) -> jax.Array:
    """Returns the body vector [3] in the world frame, for a unit orientation [4]."""
    w, xyz = orientation[0], orientation[1:]
    turned = 2 * jnp.cross(xyz, vector)
    return vector + w * turned + jnp.cross(xyz, turned)


def rotation_matrix(orientation: jax.Array) -> jax.Array:
    """Returns the rotation matrix [3, 3], body to world, of a unit orientation [4]."""
    w, x, y, z = orientation
    return jnp.stack(
        [
            jnp.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]),
            jnp.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]),
            jnp.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]),
        ]
    )


def from_axis_angle(axis: jax.Array, angle: jax.Array) -> jax.Array:
    """Returns the orientation [4] of a turn by angle [] in rad about a unit axis [3]."""
    return jnp.concatenate([jnp.cos(angle / 2)[None], jnp.sin(angle / 2) * axis])


def yaw(orientation: jax.Array) -> jax.Array:
    """Returns the heading [] in rad, from -pi to pi, of a unit orientation [4]."""
    w, x, y, z = orientation
    return jnp.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
