"""What a compiled program does on a GPU, counted in its text (`compiled.as_text()`): kernels, FLOP and bytes.

XLA's own analysis (`compiled.cost_analysis()`) says nothing of a card that is not there, and counts the body of a loop
once. Here the text is read: every instruction that launches something is one kernel, and a loop's kernels count as
often as it turns. The text is that of a scheduled module, in which operands are names (jax 0.5 and newer).
"""

import math
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

_CALLS = ("while", "call", "conditional")

FREE = frozenset(
    (*_CALLS, "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "opt-barrier")
)
"""Instructions that launch nothing by themselves; `-done` only waits for what its `-start` launched."""

_SLICES = ("slice", "dynamic-slice", "dynamic-update-slice", "gather", "scatter", "concatenate", "pad")
_CASTS = ("convert", "bitcast-convert", "reduce-precision")

MOVES = FREE | frozenset(
    (*_SLICES, *_CASTS, "broadcast", "reshape", "transpose", "reverse", "copy", "copy-start", "iota", "sort", "fusion")
)
"""Instructions that compute nothing: they move or rename numbers."""

_HEAD = re.compile(r"^(ENTRY )?%([\w.\-]+) \(.*\{$")
_NAMED = re.compile(r"^\s*(ROOT )?%([\w.\-]+) = ")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_CALLED = re.compile(r"\b(calls|to_apply|body|condition)=%([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}|(?:true|false)_computation=(%[\w.\-]+)")


class Instruction(NamedTuple):
    """One line of the text."""

    name: str
    opcode: str
    arrays: tuple[tuple[str, int], ...]
    """Type and number of elements of every array of the result."""
    dimensions: tuple[int, ...]
    """Of the first of these arrays."""
    operands: tuple[str, ...]
    attributes: str
    """The rest of the line."""
    root: bool

    @property
    def elements(self) -> int:
        """Returns the elements of the first array."""
        return self.arrays[0][1] if self.arrays else 0

    @property
    def bytes(self) -> int:
        """Returns the bytes of all arrays."""
        return sum(_element_bytes(kind) * count for kind, count in self.arrays)

    @property
    def op_name(self) -> str:
        """Returns where in the program it comes from, as JAX names it."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found[1] if found else ""

    def called(self, role: str) -> str | None:
        """Returns the computation that it uses as `calls`, `to_apply`, `body` or `condition`."""
        return next((name for kind, name in _CALLED.findall(self.attributes) if kind == role), None)

    def parameter_number(self) -> int:
        """Returns which argument of its computation a parameter is."""
        return int(self.attributes.partition(")")[0])


Computation = dict[str, Instruction]
"""Instructions by name, in order."""


class Module(NamedTuple):
    """A parsed program."""

    entry: str
    computations: dict[str, Computation]


class Kernel(NamedTuple):
    """An instruction that launches something."""

    name: str
    kind: str
    """What it does, in words; see `_kind`."""
    op_name: str
    product_flop: int
    """In matrix products: a multiplication and an addition are two."""
    other_operations: int
    """One for each number that another instruction computes."""
    bytes: int
    """Read and written, each array once; of a stack of arrays only the slice that is meant."""


class Loop(NamedTuple):
    """A loop, or the whole program, which turns once."""

    op_name: str
    trips: int
    kernels: tuple[Kernel, ...]
    """Of one turn, without those of the loops inside."""
    loops: tuple["Loop", ...]
    known: bool = True
    """Whether the text says how often it turns; else `trips` is 1."""

    def per_turn(self, value: Callable[[Kernel], float]) -> float:
        """Returns the sum of a value over all kernels of one turn, those of the loops inside as often as they run."""
        return sum(map(value, self.kernels)) + sum(loop.total(value) for loop in self.loops)

    def total(self, value: Callable[[Kernel], float]) -> float:
        """Returns the sum of a value over all turns."""
        return self.trips * self.per_turn(value)

    def inside(self) -> Iterator["Loop"]:
        """Yields the loops inside, and those in them."""
        for loop in self.loops:
            yield loop
            yield from loop.inside()


def read(text: str) -> Loop:
    """Returns what a compiled program does, from its text."""
    module = parse(text)
    return _loop(module, module.entry, "", 1, True)


def parse(text: str) -> Module:
    """Returns the computations of a program's text."""
    entry = ""
    computations: dict[str, Computation] = {}
    current: Computation = {}
    for line in text.splitlines():
        if head := _HEAD.match(line):
            current = computations.setdefault(head[2], {})
            entry = head[2] if head[1] else entry
        elif named := _NAMED.match(line):
            instruction = _instruction(named[2], line[named.end() :], bool(named[1]))
            current[instruction.name] = instruction
    return Module(entry, computations)


def _instruction(name: str, text: str, root: bool) -> Instruction:
    text = re.sub(r"/\*.*?\*/", "", text)
    # A tuple's type has spaces; any other ends at the first one.
    kind, rest = _bracketed(text) if text.startswith("(") else text.split(" ", 1)
    opcode, _, rest = rest.strip().partition("(")
    inside, attributes = _bracketed(f"({rest}")
    shapes = [tuple(int(size) for size in sizes.split(",") if size) for _, sizes in _ARRAY.findall(kind)]
    types = [found for found, _ in _ARRAY.findall(kind)]
    arrays = tuple((found, math.prod(shape)) for found, shape in zip(types, shapes, strict=True))
    if opcode in ("parameter", "constant"):
        attributes = f"{inside[1:]}{attributes}"
    operands = tuple(re.findall(r"%([\w.\-]+)", inside))
    return Instruction(name, opcode, arrays, shapes[0] if shapes else (), operands, attributes, root)


def _bracketed(text: str) -> tuple[str, str]:
    """Cuts after the bracket that closes the one that the text begins with."""
    depth = 0
    for place, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text[: place + 1], text[place + 1 :]
    return text, ""


def _element_bytes(kind: str) -> int:
    bits = re.search(r"\d+", kind)
    return max(1, int(bits[0]) // 8) if bits else int(kind == "pred")


def _loop(module: Module, computation: str, op_name: str, trips: int, known: bool) -> Loop:
    kernels: list[Kernel] = []
    loops: list[Loop] = []
    for instruction in module.computations[computation].values():
        if instruction.opcode == "while":
            loops.append(_while(module, instruction))
        elif instruction.opcode in FREE:
            # What is called is part of the caller: a command buffer, or the longest branch of a choice.
            parts = [_loop(module, name, op_name, 1, True) for name in _followed(instruction)]
            if parts:
                longest = max(parts, key=lambda part: part.total(lambda _: 1))
                kernels += longest.kernels
                loops += longest.loops
        elif not instruction.opcode.endswith(("-done", "-update")):
            kernels.append(_kernel(module, module.computations[computation], instruction))
    return Loop(op_name, trips, tuple(kernels), tuple(loops), known)


def _followed(instruction: Instruction) -> list[str]:
    if instruction.opcode == "call":
        return [name for name in (instruction.called("to_apply"), instruction.called("calls")) if name]
    if instruction.opcode == "conditional":
        return re.findall(r"%([\w.\-]+)", " ".join(map("".join, _BRANCHES.findall(instruction.attributes))))
    return []


def _while(module: Module, instruction: Instruction) -> Loop:
    body, condition = instruction.called("body"), instruction.called("condition")
    assert body and condition
    said = re.search(r'"known_trip_count":\{"n":"(\d+)"', instruction.attributes)
    trips = int(said[1]) if said else _bound(module, condition)
    loop = _loop(module, body, instruction.op_name, trips or 1, trips is not None)
    if said:
        return loop
    # Nothing but the device can tell whether it goes on, so its condition is launched too.
    return loop._replace(kernels=loop.kernels + _loop(module, condition, "", 1, True).kernels)


def _bound(module: Module, condition: str) -> int | None:
    """Returns the only whole number that a condition compares with: the turns of a loop that counts from 0."""
    instructions = list(module.computations[condition].values())
    for instruction in list(instructions):
        instructions += module.computations.get(instruction.called("calls") or "", {}).values()
    whole = [i for i in instructions if i.opcode == "constant" and i.arrays[0][0] in ("s32", "s64", "u32", "u64")]
    bounds = {int(i.attributes.partition(")")[0]) for i in whole if not i.dimensions}
    return bounds.pop() if len(bounds) == 1 else None


def _kernel(module: Module, computation: Computation, instruction: Instruction) -> Kernel:
    inside = module.computations.get(instruction.called("calls") or "", {})
    written = _written(inside) if inside else _written({instruction.name: instruction._replace(root=True)}, computation)
    read = 0
    for number, name in enumerate(instruction.operands):
        size = computation[name].bytes
        if inside:
            parameters = [i for i in inside.values() if i.opcode == "parameter" and i.parameter_number() == number]
            read += sum(_used(inside, parameter.name, size) for parameter in parameters)
        else:
            read += _read(instruction, number, size)
    product, other = _operations(module, computation, instruction)
    kind = _kind(instruction, inside, product)
    return Kernel(instruction.name, kind, instruction.op_name, product, other, read + written)


def _used(computation: Computation, name: str, size: int) -> int:
    """Returns the bytes that a fused computation reads of one of its values."""
    read = 0
    for user in computation.values():
        for number, operand in enumerate(user.operands):
            if operand == name:
                through = user.opcode in ("bitcast", "reshape")
                read += _used(computation, user.name, size) if through else _read(user, number, size)
    return min(size, read)


def _read(user: Instruction, number: int, size: int) -> int:
    """Returns the bytes that an instruction reads of its operand of that number and size."""
    if number == 0 and user.opcode in ("dynamic-slice", "slice", "gather"):
        return min(size, user.bytes)
    return 0 if number == 0 and user.opcode == "dynamic-update-slice" else size


def _written(computation: Computation, around: Computation | None = None) -> int:
    """Returns the bytes of the results of a computation; a stack that takes a slice is written in place."""
    known = {**(around or {}), **computation}

    def size(instruction: Instruction) -> int:
        if instruction.opcode == "tuple":
            return sum(size(known[name]) for name in instruction.operands)
        if instruction.opcode == "bitcast" and instruction.operands[0] in known:
            return min(instruction.bytes, size(known[instruction.operands[0]]))
        return (
            known[instruction.operands[1]].bytes if instruction.opcode == "dynamic-update-slice" else instruction.bytes
        )

    return sum(size(instruction) for instruction in computation.values() if instruction.root)


def _operations(module: Module, computation: Computation, instruction: Instruction) -> tuple[int, int]:
    """Returns FLOP of matrix products, and all other operations, of an instruction and what it calls."""
    if instruction.opcode in ("fusion", "call") and (called := instruction.called("calls")):
        inside = module.computations[called]
        parts = [_operations(module, inside, part) for part in inside.values()]
        return sum(part[0] for part in parts), sum(part[1] for part in parts)
    if instruction.opcode in ("dot", "custom-call"):
        return _product_flop(computation, instruction), 0
    if instruction.opcode in MOVES or instruction.opcode.endswith("-done"):
        return 0, 0
    reduces = instruction.opcode in ("reduce", "reduce-window") and instruction.operands
    return 0, computation[instruction.operands[0]].elements if reduces else instruction.elements


def _product_flop(computation: Computation, instruction: Instruction) -> int:
    """Returns the FLOP of a product by XLA or by cuBLAS; 0 of any other custom call."""
    found = re.search(r'lhs_contracting_dim(?:s=\{|ensions":\[)([\d,"]*)', instruction.attributes)
    if not found:
        return 0
    left = computation[instruction.operands[0]].dimensions
    summed = math.prod(left[int(axis)] for axis in re.findall(r"\d+", found[1]))
    return 2 * instruction.elements * summed


def _kind(instruction: Instruction, inside: Computation, product_flop: int) -> str:
    """Returns what a kernel does, in words."""
    opcodes = {part.opcode for part in inside.values()} or {instruction.opcode}
    if product_flop:
        return "product"
    if "dynamic-update-slice" in opcodes:
        computed = opcodes - MOVES
        return "computes and stores in a stack" if len(computed) > 3 else "stores in a stack"
    if opcodes & {"reduce", "reduce-window"}:
        return "reduction"
    if opcodes & {"custom-call", "sort", "scatter", "gather"}:
        return " and ".join(sorted(opcodes & {"custom-call", "sort", "scatter", "gather"}))
    return "elementwise" if opcodes - MOVES else "copy"
