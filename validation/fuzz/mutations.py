"""Valid content, made slightly or thoroughly wrong.

Everything is drawn from a `random.Random`: hypothesis hands in one that it controls and shrinks, the recorded run one
for each input, so that a reader's name and a number make an input again (but for the files of a checkpoint, whose names
change).
"""

import copy
import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import numpy as np
from numpy.lib import format as npy

Keys = tuple[str | int, ...]

NASTY_TEXT = (
    *("", "nan", "1e999", "0x10", "-", "~", "../../outside", "/dev/zero"),
    # Markup, control characters, and what no encoding or no font has.
    *("[/red]", "[red]", "[link=file:///]", "a\nb", "a\r\x1b[2Jb", "\x00", "\u2028\u0085", "\ud800"),
    *("\N{RIGHT-TO-LEFT OVERRIDE}\N{COMBINING ACUTE ACCENT}", "٣", "%s%n{0}", "x" * 3000, "__class__"),
)
NASTY_NUMBERS = (
    *(0, -1, 1, 2**31, 2**63, -(2**63), 10**30, 10**400, 0.0, -0.0, 1e-320, 1e38, 1e39, 1e308, -1e308),
    *(math.nan, math.inf, -math.inf),
)


def text(random: Random) -> str:
    """Returns text of the nasty sort, or a few characters from anywhere in Unicode."""
    if random.random() < 0.7:
        return random.choice(NASTY_TEXT)
    highest = random.choice((0x7F, 0x2FF, 0x10FFFF))
    return "".join(chr(random.randrange(highest)) for _ in range(random.randrange(20)))


def number(random: Random) -> int | float:
    """Returns a number that is too large, too small, none, or any at all."""
    if random.random() < 0.6:
        return random.choice(NASTY_NUMBERS)
    if random.random() < 0.5:
        return random.randrange(-1000, 1000)
    return random.uniform(-1, 1) * 10.0 ** random.randrange(-320, 309)


def scalar(random: Random) -> Any:
    """Returns a value of any type that JSON has but for lists and objects."""
    return random.choice((lambda: None, lambda: random.random() < 0.5, lambda: number(random), lambda: text(random)))()


def value(random: Random, depth: int = 3) -> Any:
    """Returns any JSON value: scalars mostly, lists of the lengths that drones have, objects, deep nesting."""
    kind = random.randrange(10) if depth else 0
    if kind < 5:
        return scalar(random)
    if kind < 6:
        return [number(random) for _ in range(random.choice((3, 4)))]
    if kind < 7:
        return [[number(random) for _ in range(3)] for _ in range(random.choice((3, 4)))]
    if kind < 8:
        return [value(random, depth - 1) for _ in range(random.randrange(4))]
    if kind < 9:
        return {text(random): value(random, depth - 1) for _ in range(random.randrange(3))}
    nested: Any = []
    for _ in range(random.choice((2, 20, 200))):
        nested = [nested]
    return nested


def places(content: Any, prefix: Keys = ()) -> list[Keys]:
    """Returns where every value of nested dictionaries and lists lies, but for the outermost."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place for key, value in items for place in ((*prefix, key), *places(value, (*prefix, key)))]


def _put(content: Any, place: Keys, how: str, value: Any, name: str) -> None:
    for key in place[:-1]:
        if not isinstance(content, dict | list) or (isinstance(content, dict) and key not in content):
            return  # an edit before this one took it away
        content = content[key] if isinstance(content, dict) else content[int(key) % len(content)] if content else None
    if isinstance(content, dict):
        if how == "remove":
            content.pop(place[-1], None)
        else:
            content[name if how == "add" else place[-1]] = value
    elif isinstance(content, list):
        if how == "add" or not content:
            content.append(value)
        elif how == "remove":
            content.pop()
        else:
            content[int(place[-1]) % len(content)] = value


def edited(random: Random, content: Any) -> Any:
    """Returns nested content with up to three values replaced, removed or added; seldom another value altogether."""
    if random.random() < 0.02:
        return value(random)
    content = copy.deepcopy(content)
    for _ in range(random.randrange(4)):
        place = random.choice(places(content) or [("x",)])
        how = random.choice(("replace", "replace", "replace", "remove", "add"))
        _put(content, place, how, value(random), text(random))
    return content


def noise(random: Random) -> bytes:
    """Returns up to thirty bytes."""
    return bytes(random.randrange(256) for _ in range(random.choice((1, 4, 30))))


def damaged(random: Random, whole: bytes, snippets: Sequence[bytes] = ()) -> bytes:
    """Returns bytes with some flipped, cut out, cut off or put in; now and then whole."""
    content = bytearray(whole)
    for _ in range(random.randrange(4)):
        at = random.randrange(len(content) + 1)
        length = random.choice((1, 2, 8, 64))
        how = random.choice(("flip", "cut", "truncate", "insert", "zero", "repeat"))
        if how == "flip" and at < len(content):
            content[at] ^= 1 << random.randrange(8)
        elif how == "cut":
            del content[at : at + length]
        elif how == "truncate":
            del content[at:]
        elif how == "insert":
            content[at:at] = random.choice(snippets) if snippets and random.random() < 0.5 else noise(random)
        elif how == "zero":
            content[at : at + length] = bytes(len(content[at : at + length]))
        elif how == "repeat":
            content[at:at] = content[at : at + length] * random.choice((1, 20))
    return bytes(content)


JSON_SNIPPETS = (
    *(b"NaN", b"-Infinity", b"1e999", b"{", b"[", b"[" * 500),
    *(b'"', b"\\ud800", b"\xff\xfe", b"9" * 5000, b"\0"),
)


def json_file(random: Random, content: Any) -> bytes:
    """Returns the bytes of a JSON file that was edited, damaged, or both."""
    text = json.dumps(edited(random, content), ensure_ascii=random.random() < 0.5)
    whole = text.encode("utf-8", "surrogatepass")
    return damaged(random, whole, JSON_SNIPPETS) if random.randrange(3) == 0 else whole


YAML_SCALARS = (
    # What an unsafe loader would run.
    *(
        "!!python/object/apply:os.system ['touch outside']",
        "!!python/object/new:subprocess.Popen [['touch', 'outside']]",
    ),
    *("!!python/name:os.system", "!!python/module:antigravity"),
    # Aliases and merges.
    *("&a [*a]", "*a", "{<<: {tau: 1}}"),
    # Values that are not of their type, or of an unusual one.
    *("2020-99-99", "!!timestamp x", "!!int ''", "!!float x", "!!binary '*'", "!!set {a, b}", "!!omap [a: 1]"),
    *("!!null x", "!unknown x", "1:99:99", "0b_", "0x_", "_", "1_000", ".inf", "-.nan", "9" * 5000, "? [a]"),
    # Text, nesting, and characters with a meaning.
    *('"\\ud800"', '"\\x1b[2J"', "|\n    a\n    b", "[" * 300, "{a: " * 300, "'", "%YAML 9.9", "\t", "@"),
)
YAML_SNIPPETS = (*map(str.encode, YAML_SCALARS), b"---\n", b"...\n", b"\x00", b"\xff\xfe", b": ", b"- ")


def yaml_file(random: Random, content: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Returns the bytes of a YAML file of sections: some keys of the given ones, with any values, then damaged."""
    lines = []
    for section in random.sample(list(content), random.randrange(1, 4)):
        lines.append(f"{section if random.randrange(20) else _scalar(random)}:")
        for key in random.sample(list(content[section]), random.randrange(5)):
            text = _scalar(random) if random.randrange(4) == 0 else json.dumps(content[section][key])
            lines.append(f"  {key if random.randrange(20) else _scalar(random)}: {text}")
    whole = "\n".join(lines).encode("utf-8", "surrogatepass")
    return damaged(random, whole, YAML_SNIPPETS) if random.randrange(3) == 0 else whole


def yaml_drone(random: Random, content: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Returns the bytes of a drone in YAML: the given one edited, some values of YAML's own sorts, then damaged."""
    lines = []
    drone = edited(random, content)
    for name, group in drone.items() if isinstance(drone, dict) else ():
        lines.append(f"{name}:")
        for key, value in group.items() if isinstance(group, dict) else ():
            text = _scalar(random) if random.randrange(20) == 0 else json.dumps(value)
            lines.append(f"  {key if random.randrange(40) else _scalar(random)}: {text}")
    whole = "\n".join(lines).encode("utf-8", "surrogatepass")
    return damaged(random, whole, YAML_SNIPPETS) if random.randrange(3) == 0 else whole


def _scalar(random: Random) -> str:
    kind = random.randrange(4)
    return random.choice(YAML_SCALARS) if kind < 2 else text(random) if kind == 2 else json.dumps(value(random))


class Harmful:
    """Starts a program when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ("touch outside",)


def npy_bytes(array: np.ndarray) -> bytes:
    """Returns an array as a .npy file; one of objects is pickled."""
    file = io.BytesIO()
    npy.write_array(file, array, allow_pickle=True)
    return file.getvalue()


def npy_claiming(header: str, payload: bytes = b"") -> bytes:
    """Returns a .npy file with a header of one's own."""
    text = header.encode("utf-8", "surrogatepass")
    return b"\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text + payload


DTYPES = ("<f4", ">f4", "<f8", "<i4", "<i8", "|b1", "<c8", "<U7", "|S3", "<M8[s]", "|V9", "<f2")
HEADERS = (
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 10000000000000000000)}",
    "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
    "{'descr': '|V999999999', 'fortran_order': False, 'shape': (9,)}",
    "{'descr': [('a', '<f4'), ('a', '<f4')], 'fortran_order': True, 'shape': ()}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1, '\\d')}",
    "__import__('os').system('touch outside')",
    "(" * 3000,
    "",
)


def array_file(random: Random, valid: np.ndarray) -> bytes:
    """Returns a .npy file like a valid one: other numbers, type or shape, a pickle, or a header that lies."""
    how = random.choice(("numbers", "type", "shape", "pickle", "header", "damage", "text"))
    array = np.array(valid)
    if how == "numbers" and array.size and array.dtype.kind == "f":
        array.flat[random.randrange(array.size)] = random.choice((np.nan, np.inf, 3e38, 0))
    elif how == "type" and array.dtype.kind in "fi":
        array = np.zeros(array.shape, random.choice(DTYPES))
    elif how == "shape":
        array = np.zeros([random.randrange(6) for _ in range(random.randrange(4))], array.dtype)
    elif how == "pickle":
        array = np.array([Harmful()], object)
    elif how == "header":
        return npy_claiming(random.choice(HEADERS), noise(random))
    elif how == "damage":
        return damaged(random, npy_bytes(array))
    elif how == "text":
        array = np.array(random.choice((text(random), "[" * 10_000)))
    return npy_bytes(array)


NAMES = (
    *("../outside.npy", "/tmp/outside.npy", "a\\b.npy", "x", "", "\u2028.npy", "__class__.npy", "hidden_0.npy"),
    "." * 300,
)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def npz_bytes(entries: Sequence[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    """Returns a .npz file with these entries, which need be no arrays."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


def npz_file(random: Random, valid: Mapping[str, np.ndarray]) -> bytes:
    """Returns the bytes of a .npz file with up to two entries changed, lost or added, then perhaps damaged."""
    entries = {f"{name}.npy": npy_bytes(array) for name, array in valid.items()}
    for name in random.sample(list(valid), random.randrange(3)):
        if random.randrange(5) == 0:
            entries.pop(f"{name}.npy", None)
        else:
            entries[f"{name}.npy"] = array_file(random, valid[name])
    if random.randrange(5) == 0:
        entries[random.choice(NAMES)] = random.choice((noise(random), array_file(random, np.zeros(3, np.float32))))
    whole = npz_bytes(list(entries.items()), random.choice(METHODS))
    return damaged(random, whole) if random.randrange(3) == 0 else whole
