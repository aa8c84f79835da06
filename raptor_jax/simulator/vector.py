"""Vectors and matrices of scalars.

XLA fuses operations on scalars, batched by `jax.vmap`, into few kernels, but not slices and sums of small arrays.
"""

from typing import Self

import jax
import jax.numpy as jnp
from flax import struct


class Vec(struct.PyTreeNode):
    """A vector with three components; each is a scalar []."""

    x: jax.Array
    y: jax.Array
    z: jax.Array

    @classmethod
    def of(cls, array: jax.Array) -> Self:
        """Returns the vector with the components of an array [3]."""
        return cls(*scalars(array))

    def array(self) -> jax.Array:
        """Returns the components as an array [3]."""
        return jnp.stack([self.x, self.y, self.z])

    def __add__(self, other: "Vec") -> "Vec":
        return Vec(self.x + other.x, self.y + other.y, self.z + other.z)

    def __sub__(self, other: "Vec") -> "Vec":
        return Vec(self.x - other.x, self.y - other.y, self.z - other.z)

    def __mul__(self, factor: jax.Array | float) -> "Vec":
        return Vec(self.x * factor, self.y * factor, self.z * factor)

    def __truediv__(self, divisor: jax.Array | float) -> "Vec":
        return Vec(self.x / divisor, self.y / divisor, self.z / divisor)


class Matrix(struct.PyTreeNode):
    """A 3 x 3 matrix, by rows."""

    rows: tuple[Vec, Vec, Vec]

    @classmethod
    def of(cls, array: jax.Array) -> Self:
        """Returns the matrix with the entries of an array [3, 3]."""
        first, second, third = scalars(array)
        return cls((Vec.of(first), Vec.of(second), Vec.of(third)))

    def __matmul__(self, vector: Vec) -> Vec:
        return Vec(*(dot(row, vector) for row in self.rows))


def scalars(array: jax.Array) -> tuple[jax.Array, ...]:
    """Returns the rows of an array [N, ...], each without the leading axis."""
    # The transpose of a split is a single concatenation, unlike that of indexing.
    array = jnp.asarray(array)
    rows = jax.lax.split(array, (1,) * array.shape[0])
    return tuple(row.squeeze(0) for row in rows)


def dot(a: Vec, b: Vec) -> jax.Array:
    """Returns the scalar product []."""
    return a.x * b.x + a.y * b.y + a.z * b.z


def cross(a: Vec, b: Vec) -> Vec:
    """Returns the vector product."""
    return Vec(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x)
