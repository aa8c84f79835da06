"""The fields of a drone's tree: the values that each accepts, parsing, writing, and errors for invalid values."""

import dataclasses
import difflib
import math
import reprlib
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
from flax import struct

_MOST_UNKNOWN_KEYS = 100
"""Unknown keys of a group that are searched for a misspelt one."""

_SHOWN_CHARACTERS = 100
"""Longest value in an error message; a longer one is shortened."""


CORRECT = "correct it or remove the file"
"""The usual fix of a wrong value."""

OMIT = "leave it out, and it is computed (raptor-jax inspect FILE --repair OUT.json writes the file that way)"
"""The fix of a wrong value that the other fields determine."""


class FieldError(ValueError):
    """A wrong field, as a one-line message: its dotted name, the problem and how to fix it."""

    def __init__(self, field: str, problem: str, fix: str):
        super().__init__(f"{field}: {problem}; {fix}")


def wrong_value(field: str, value: object, reason: str, fix: str = CORRECT) -> FieldError:
    """Returns the error for a field whose value cannot be used."""
    return FieldError(field, f"{shown(value)} {reason}", fix)


def shown(value: object) -> str:
    """Returns a value of a field as short text in one line."""
    text = np.array2string(value, precision=6, separator=", ") if isinstance(value, np.ndarray) else reprlib.repr(value)
    return textwrap.shorten(text, _SHOWN_CHARACTERS, placeholder=" ...")


class Specification(NamedTuple):
    """The shape and unit of a leaf field, the type of its elements (float or bool), and their range.

    Elements are greater than `above`, and lie between `least` and `most`, both included.
    """

    shape: tuple[int, ...]
    unit: str
    kind: type = float
    above: float = -math.inf
    least: float = -math.inf
    most: float = math.inf
    short: Literal["one rotor", "diagonal"] | None = None
    """The short form that a file may use: the value of one rotor for all four, or the diagonal of the matrix."""
    derived: bool = False
    """Whether the other fields determine the value, so that an invalid one can be left out."""

    @property
    def fix(self) -> str:
        """How to fix a wrong value."""
        return OMIT if self.derived else CORRECT

    def __str__(self) -> str:
        if self.kind is bool:
            return f"true or false ({self.unit})"
        size = " x ".join(map(str, self.shape))
        text = f"{size} numbers ({self.unit})" if size else f"a number ({self.unit})"
        short = {"one rotor": ", or the value of one rotor for all four", "diagonal": ", or its 3 diagonal entries"}
        return text + short[self.short] if self.short else text

    def parse(self, name: str, value: object) -> np.ndarray:
        """Returns a value of JSON or YAML as an array of this shape and type, within this range.

        Args:
            name: dotted name of the field.
            value: nested lists of numbers.

        Raises:
            FieldError: the value has another shape or type, is not finite in float32, or is out of range.
        """
        value = self._expanded(value)
        if not _has_shape(value, self.shape, self.kind):
            raise wrong_value(name, value, f"should be {self}", self.fix)
        try:
            array: np.ndarray = np.array(value, dtype=self.kind)
        except OverflowError:
            raise wrong_value(name, value, f"should be finite ({self.unit})", self.fix) from None
        if reason := self.problem(array):
            raise wrong_value(name, array, reason, self.fix)
        return array

    def problem(self, value: np.ndarray) -> str | None:
        """Returns why a value is refused: not all elements are finite or within the range; None where they are."""
        # The simulator computes in float32.
        with np.errstate(over="ignore", under="ignore"):
            rounded = value.astype(np.float32)
        if not np.all(np.isfinite(rounded)):
            return f"should be finite in float32 ({self.unit})"
        if np.any(rounded <= self.above):
            return f"should be above {self.above:g} ({self.unit})"
        if np.any(value < self.least):
            return f"should be at least {self.least:g} ({self.unit})"
        if np.any(value > self.most):
            return f"should be at most {self.most:g} ({self.unit})"
        return None

    def _expanded(self, value: object) -> object:
        """Returns a value in its full form, even if the file uses the short form."""
        if self.short == "one rotor" and _has_shape(value, self.shape[1:], self.kind):
            return [value] * self.shape[0]
        if self.short == "diagonal" and isinstance(value, list) and _has_shape(value, self.shape[1:], self.kind):
            return [[moment if row == column else 0 for column in range(3)] for row, moment in enumerate(value)]
        return value


class Declaration(NamedTuple):
    """How a field of a group is read from a file."""

    specification: Specification | None = None
    """None for a field that is itself a group."""
    default: object = None
    """The value in JSON of a field that the file omits; None where it may not be omitted, or is computed."""
    computed: bool = False
    """Whether a field that the file omits is computed later; it is parsed as None."""


def leaf(unit: str, *shape: int, default: object = None, computed: bool = False, **details: Any) -> Any:
    """Declares a leaf field of a group; `details` are further fields of `Specification`."""
    specification = Specification(shape, unit, **details)
    return dataclasses.field(metadata={"declaration": Declaration(specification, default, computed)})


def group(default: object = None, computed: bool = False) -> Any:
    """Declares a field that is a group and that a file may omit."""
    return dataclasses.field(metadata={"declaration": Declaration(None, default, computed)})


class Group(struct.PyTreeNode):
    """Fields with a common name, which a file holds as one object."""

    l2f_only: ClassVar[Mapping[str, object]] = {}
    """Keys that L2F requires and this simulator does not use, with the values that disable them."""


_Group = TypeVar("_Group", bound=Group)


class Leaf(NamedTuple):
    """A leaf field of one drone."""

    value: Any
    """float64 or bool, of the specified shape."""
    specification: Specification


def leaves(group: Group, prefix: str = "") -> Iterator[tuple[str, Leaf]]:
    """Yields the leaf fields of a group and of the groups in it, by dotted name, in their order."""
    for field in dataclasses.fields(group):
        name, value, specification = f"{prefix}{field.name}", getattr(group, field.name), _declaration(field)[0]
        if specification is None:
            yield from leaves(value, f"{name}.")
        else:
            yield name, Leaf(value, specification)


def derived_names(group: type[Group], prefix: str = "") -> Iterator[str]:
    """Yields the dotted names of the leaf fields that the other fields of a group determine."""
    for field in dataclasses.fields(group):
        name, specification = f"{prefix}{field.name}", _declaration(field).specification
        if specification is None:
            assert isinstance(field.type, type)
            yield from derived_names(field.type, f"{name}.")
        elif specification.derived:
            yield name


def parse(group: type[_Group], values: object, name: str = "") -> _Group:
    """Returns a group from its object, with None for fields that are omitted and computed later.

    Args:
        group: its class.
        values: the object, as JSON or YAML holds it.
        name: the group's dotted name, "" for a whole drone.

    Raises:
        FieldError: a field is missing or wrong, or seems to be misspelt. Other unknown keys are ignored, as in L2F.
    """
    if not isinstance(values, dict):
        raise wrong_value(name, values, "should be an object")
    prefix = f"{name}." if name else ""
    fields = dataclasses.fields(group)
    known = {*(field.name for field in fields), *group.l2f_only}
    unknown = [key for key in values if key not in known][:_MOST_UNKNOWN_KEYS]
    for field in fields:
        if field.name not in values and (alike := difflib.get_close_matches(field.name, unknown, 1, cutoff=0.8)):
            raise FieldError(prefix + alike[0], "is not a field of a drone", f"did you mean {field.name}?")
    return group(**{field.name: _parse_field(field, values, prefix + field.name) for field in fields})


def unparse(group: Group) -> dict[str, Any]:
    """Returns a group as an object for JSON, with the keys that only L2F uses."""
    content: dict[str, Any] = {}
    for field in dataclasses.fields(group):
        value, specification = getattr(group, field.name), _declaration(field).specification
        content[field.name] = (
            unparse(value) if specification is None else np.asarray(value, dtype=specification.kind).tolist()
        )
    return content | dict(group.l2f_only)


def _declaration(field: dataclasses.Field[Any]) -> Declaration:
    return field.metadata.get("declaration", Declaration())


def _parse_field(field: dataclasses.Field[Any], values: dict[str, Any], name: str) -> Any:
    specification, default, computed = _declaration(field)
    value = values.get(field.name, default)
    if field.name not in values:
        if computed:
            return None
        if default is None:
            expected = "an object, as in L2F's files" if specification is None else specification
            raise FieldError(name, "is missing", f"add {expected}")
    if specification is not None:
        return specification.parse(name, value)
    assert isinstance(field.type, type)
    return parse(field.type, value, name)


def _has_shape(value: object, shape: tuple[int, ...], kind: type) -> bool:
    """Returns whether nested lists have a shape, and elements of a type: bool, or float, which integers are too."""
    if shape:
        return isinstance(value, list) and len(value) == shape[0] and all(_has_shape(v, shape[1:], kind) for v in value)
    if kind is bool:
        return isinstance(value, bool)
    return isinstance(value, int | float) and not isinstance(value, bool)
