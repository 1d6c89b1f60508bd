"""Scalar expressions, written once: from a few lines of code comes the same in ``xp``, C and Numba.

What is elementwise (an activation, an optimiser's update, a loss of one output at a time) is a row
of a table with such code, as in ::

    v = beta * v + (1 - beta) * g
    p = p - rate * v

Each line gives a name a value. Names are of four kinds:

- *arrays*, of which a line reads and writes one element: ``p``, ``g``, ``v``
- *scalars*, which lie in the device's memory in the arrays' type: ``rate``
- *options*, numbers of the host: ``beta``; what depends on them alone is computed in float64
- what a line gives a value first: it is local to the code

There are ``+ - * /``, comparisons, `FUNCTIONS`, and ``where(condition, a, b)``. ``maximum(a, b)``
and ``minimum(a, b)`` keep an ``a`` that is NaN.
"""

from __future__ import annotations

import ast
import math
import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from inspect import cleandoc
from typing import Any, NamedTuple

from .._typing import Array

#: Functions of one number, by their names in ``xp`` (`erf` apart) and C; in Python they are math's.
FUNCTIONS = ("exp", "expm1", "log", "log1p", "tanh", "sqrt", "erf", "abs", "sign")

_BINARY = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}
_COMPARED = {
    ast.Gt: ("greater", ">"),
    ast.GtE: ("greater_equal", ">="),
    ast.Lt: ("less", "<"),
    ast.LtE: ("less_equal", "<="),
}
_COMPARISONS = frozenset(name for name, _ in _COMPARED.values())
_SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}


class Node(NamedTuple):
    """An expression: a number, a name, or an operation on other expressions."""

    operation: str
    operands: tuple[Node, ...] = ()
    value: float | str = 0.0


@dataclass(frozen=True, eq=False)  # the same if it is the same object: quick to look up
class Code:
    """Lines of scalar code over the elements of arrays.

    Parameters
    ----------
    source : str
        The lines; see the module's docstring.
    arrays, scalars, options : tuple of str
        The names that the lines find.
    in_place : bool
        Whether an array that is written may be the memory of another one that is read.

    Raises
    ------
    SyntaxError
        If a line is not of that kind, or a name is not known.

    Examples
    --------
    >>> code = Code("p = p - rate * where(g > 0, 1, slope) * g", ("p", "g"), ("rate",), ("slope",))
    >>> print(code.to_c())
    p = (p - ((rate * (g > real(0.0) ? real(1.0) : real(slope))) * g));
    """

    source: str
    arrays: tuple[str, ...]
    scalars: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    in_place: bool = False
    lines: tuple[tuple[str, Node], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        known = {*self.arrays, *self.scalars, *self.options}
        lines = []
        for statement in ast.parse(cleandoc(self.source)).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=target)]):
                    if target in (*self.scalars, *self.options):
                        raise SyntaxError(f"{target!r} is given a value, and is no array")
                    lines.append((target, _parse(statement.value, known)))
                    known.add(target)
                case _:
                    raise SyntaxError(f"not a line such as 'p = p - g': {ast.unparse(statement)}")
        object.__setattr__(self, "lines", tuple(lines))

    @property
    def written(self) -> tuple[str, ...]:
        """The arrays that are given values, in the order of `arrays`."""
        return tuple(name for name in self.arrays if name in dict(self.lines))

    @property
    def functions(self) -> frozenset[str]:
        """The functions that are called, of those in `FUNCTIONS`."""
        return frozenset(f for _, node in self.lines for f in _operations(node) if f in FUNCTIONS)

    def to_c(self) -> str:
        """Return lines of C over `real` variables; options are `double`."""
        return self._lines(_C, "const real {} = {};", "{} = {};")

    def to_python(self, name: str) -> str:
        """Return a function for Numba of arrays' elements, scalars and options.

        It returns the elements of the arrays that are `written`. Numbers take the type of the first
        array's element.
        """
        given = ", ".join((*self.arrays, *self.scalars, *self.options))
        body = self._lines(_PYTHON, "{} = {}", "{} = {}").replace("\n", "\n    ")
        first = f"real = type({self.arrays[0]})"
        return (
            f"def {name}({given}):\n    {first}\n    {body}\n    return {', '.join(self.written)}"
        )

    def _lines(self, style: _Style, local: str, array: str) -> str:
        form = [array if target in self.arrays else local for target, _ in self.lines]
        texts = [(target, self._text(node, style)) for target, node in self.lines]
        return "\n".join(f.format(*line) for f, line in zip(form, texts, strict=True))

    def _text(self, node: Node, style: _Style) -> str:
        if self._of_options(node):
            return f"real({_text(node, style)})"
        return _text(node, style, self._text)

    def _of_options(self, node: Node) -> bool:
        """Return whether an expression is of numbers and options alone."""
        if node.operation == "name":
            return node.value in self.options
        return all(map(self._of_options, node.operands))

    def program(self, **options: float) -> Program:
        """Return the code as operations of an array namespace, for some values of the options."""
        return _compile(self, tuple(sorted(options.items())))


# -- parsing ----


def _parse(node: ast.expr, known: set[str]) -> Node:
    match node:
        case ast.Constant(value=float() | int() as value) if not isinstance(value, bool):
            return Node("number", value=float(value))
        case ast.Name(id=name) if name in known:
            return Node("name", value=name)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=float() | int() as value)):
            return Node("number", value=-float(value))
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return Node("negative", (_parse(inner, known),))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return Node(_BINARY[type(op)], (_parse(left, known), _parse(right, known)))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARED:
            return Node(_COMPARED[type(op)][0], (_parse(left, known), _parse(right, known)))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            count = {"where": 3, "maximum": 2, "minimum": 2, **dict.fromkeys(FUNCTIONS, 1)}
            if len(arguments) == count.get(name):
                return Node(name, tuple(_parse(argument, known) for argument in arguments))
    raise SyntaxError(f"{ast.unparse(node)!r} is not known: {', '.join(sorted(known))} are")


def _operations(node: Node) -> list[str]:
    return [node.operation, *(name for inner in node.operands for name in _operations(inner))]


# -- as text ----


class _Style(NamedTuple):
    """How a language writes what Python and C don't write alike."""

    where: str
    functions: Mapping[str, str]


_C = _Style("({0} ? {1} : {2})", {"abs": "fabs", "sign": "sign_of"})
_PYTHON = _Style("({1} if {0} else {2})", {"sign": "sign_of"})


def _text(node: Node, style: _Style, inner: Callable[[Node, _Style], str] | None = None) -> str:
    """Return an expression in a language; ``inner`` writes its operands."""
    operation = node.operation
    if operation == "number":
        return repr(node.value)
    if operation == "name":
        return str(node.value)
    parts = [(inner or _text)(operand, style) for operand in node.operands]
    if operation in _SIGNS:
        return f"({parts[0]} {_SIGNS[operation]} {parts[1]})"
    if operation == "negative":
        return f"(-{parts[0]})"
    for name, sign in _COMPARED.values():
        if operation == name:
            return f"{parts[0]} {sign} {parts[1]}"
    if operation == "where":
        return style.where.format(*parts)
    if operation in ("maximum", "minimum"):
        sign = "<" if operation == "maximum" else ">"
        return style.where.format(f"{parts[0]} {sign} {parts[1]}", parts[1], parts[0])
    return f"{style.functions.get(operation, operation)}({parts[0]})"


# -- as operations over arrays ----


class Step(NamedTuple):
    """An operation: what it is called in ``xp``, its operands, and where its result goes.

    A number stands for itself, a name for an array or scalar, and an int for a register.
    """

    operation: str
    operands: tuple[float | str | int, ...]
    out: str | int


@dataclass(frozen=True)
class Program:
    """Operations of an array namespace with ``out``, in place of which temporary arrays would be.

    Attributes
    ----------
    steps : tuple of Step
        The operations.
    n_registers : int
        How many arrays, of the arrays' shape and type, they need for what lies between.
    masks : bool
        Whether they need an array of bool as well.
    """

    steps: tuple[Step, ...]
    n_registers: int
    masks: bool

    def run(
        self,
        xp: Any,
        erf: Callable[..., Any] | None,
        arrays: Mapping[str, Array],
        registers: Sequence[Array],
        mask: Array | None = None,
    ) -> None:
        """Do the operations.

        Parameters
        ----------
        xp : module
            The arrays' namespace.
        erf : function or None
            The error function, of an array and ``out``; None where the code calls none.
        arrays : mapping of str to array
            The arrays and scalars by their names. An array that is written may be one that is read.
        registers : sequence of array
            At least `n_registers`.
        mask : array of bool or None
            If there are `masks`.
        """
        self._function(xp, erf, arrays, registers, mask)

    @cached_property
    def _function(self) -> Callable[..., None]:
        """`run` without a loop over the steps, which takes as long as they do on small arrays."""
        operands = [o for step in self.steps for o in (*step.operands, step.out)]
        names = dict.fromkeys(o for o in operands if isinstance(o, str))
        lines = [f"{_named(name)} = arrays[{name!r}]" for name in names]
        lines += [f"{_named(i)} = registers[{i}]" for i in range(self.n_registers)]
        body = "\n    ".join([*lines, *map(_call, self.steps)] or ["pass"])
        scope: dict[str, Any] = {"choose": _choose, "inf": math.inf, "nan": math.nan}
        exec(f"def run(xp, erf, arrays, registers, mask):\n    {body}", scope)
        return scope["run"]  # type: ignore[no-any-return]


#: Stands for the mask among a step's operands.
MASK = -1


def _named(operand: float | str | int) -> str:
    """Return what an operand is called in Python."""
    if isinstance(operand, float):
        return repr(operand)
    return "mask" if operand == MASK else f"at_{operand}"


def _call(step: Step) -> str:
    """Return a step as a line of Python."""
    given, out = ", ".join(map(_named, step.operands)), _named(step.out)
    match step.operation:
        case "where":
            return f"choose(xp, {given}, {out})"
        case "copy":
            return f"xp.copyto({out}, {given})"
        case "erf":
            return f"erf({given}, out={out})"
    return f"xp.{step.operation}({given}, out={out})"


def _choose(xp: Any, mask: Array, a: Any, b: Any, out: Array) -> None:
    """Out ← a where the mask is set, else b; the mask is used up."""
    if out is a:
        xp.logical_not(mask, out=mask)
        a, b = b, a
    elif out is not b:
        xp.copyto(out, b)
    xp.copyto(out, a, where=mask)


@lru_cache(maxsize=256)
def _compile(code: Code, options: tuple[tuple[str, float], ...]) -> Program:
    given = dict(options)
    missing = set(code.options) ^ given.keys()
    if missing:
        raise TypeError(f"options {', '.join(sorted(missing))}: missing or unknown")
    lines = [(target, _fold(node, given)) for target, node in code.lines]
    return _Compiler(code, lines).program()


_ONE, _ZERO = Node("number", value=1.0), Node("number", value=0.0)

_FOLDED: dict[str, Callable[..., float]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "negative": operator.neg,
}


def _fold(node: Node, options: Mapping[str, float]) -> Node:
    """Return an expression with the options' values in it, and numbers computed."""
    if node.operation == "name" and node.value in options:
        return Node("number", value=float(options[str(node.value)]))
    inner = tuple(_fold(operand, options) for operand in node.operands)
    numbers = [operand.value for operand in inner if operand.operation == "number"]
    if inner and len(numbers) == len(inner) and node.operation in _FOLDED:
        return Node("number", value=_FOLDED[node.operation](*numbers))
    if node.operation == "multiply":
        for one, other in (inner, inner[::-1]):
            if one == _ONE:
                return other
    return Node(node.operation, inner, node.value)


class _Compiler:
    """Turns lines into steps, and says where their results lie.

    A result goes to the array that the line writes as soon as nothing else in the line reads that
    array, or another that may be the same memory; until then into the first register that is free.
    """

    def __init__(self, code: Code, lines: list[tuple[str, Node]]) -> None:
        self._code, self._lines = code, lines
        self._steps: list[Step] = []
        self._free: list[int] = []
        self._registers = 0
        self._masks = False
        self._locals: dict[str, int] = {}
        self._target, self._held = "", False
        self._unread: Counter[str] = Counter()

    def program(self) -> Program:
        for i, (target, node) in enumerate(self._lines):
            later = {name for _, n in self._lines[i + 1 :] for name in _names(n)}
            self._target, self._held = target, False
            self._unread = Counter(_names(node))
            if target in self._code.arrays:
                self._line(target, node)
            else:
                self._locals[target] = self._keep(self._value(node))
            for name in [name for name in self._locals if name not in later]:
                self._free.append(self._locals.pop(name))
        return Program(tuple(self._steps), self._registers, self._masks)

    def _line(self, target: str, node: Node) -> None:
        result = self._value(node)
        last = self._steps[-1].out if self._steps else None
        if isinstance(result, int) and last == result not in self._locals.values():
            step = self._steps.pop()  # its result goes to the array at once
            self._steps.append(step._replace(out=target))
            self._release(result)
        elif result != target:
            self._steps.append(Step("copy", (result,), target))
            self._release(result)

    def _keep(self, result: float | str | int) -> int:
        """Return a register that holds a result."""
        if isinstance(result, int):
            return result
        register = self._take()
        self._steps.append(Step("copy", (result,), register))
        return register

    def _place(self) -> str | int:
        """Return where a result may go."""
        left = self._unread if self._code.in_place else {self._target: self._unread[self._target]}
        if self._target in self._code.arrays and not self._held and not any(left.values()):
            self._held = True
            return self._target
        return self._take()

    def _take(self) -> int:
        if self._free:
            self._free.sort(reverse=True)
            return self._free.pop()
        self._registers += 1
        return self._registers - 1

    def _release(self, operand: float | str | int) -> None:
        """Take note that a step has read an operand."""
        if operand == self._target and self._held:
            self._held = False
        elif isinstance(operand, str):
            self._unread[operand] -= 1
        elif isinstance(operand, int) and operand not in (MASK, *self._locals.values()):
            self._free.append(operand)

    def _value(self, node: Node) -> float | str | int:
        """Return where an expression's value lies, having made the steps to it."""
        if node.operation == "number":
            return float(node.value)
        if node.operation == "name":
            return self._locals.get(str(node.value), str(node.value))
        operation, operands = self._operation(node)
        compared = node.operation in _COMPARISONS
        for operand in operands:
            self._release(operand)
        out = MASK if compared else self._place()
        self._masks |= compared
        self._steps.append(Step(operation, operands, out))
        return out

    def _operation(self, node: Node) -> tuple[str, tuple[float | str | int, ...]]:
        """Return an operation and where its operands lie."""
        if node.operation != "where":
            return node.operation, tuple(self._value(operand) for operand in node.operands)
        condition, a, b = node.operands
        if (a, b) == (_ONE, _ZERO):  # the comparison itself, as numbers
            return condition.operation, tuple(map(self._value, condition.operands))
        values = self._value(a), self._value(b)
        mask = self._value(condition)  # the last: there is but one
        if isinstance(values[1], float) and not values[1] and not isinstance(values[0], float):
            return "multiply", (values[0], mask)
        return "where", (mask, *values)


def _names(node: Node) -> list[str]:
    if node.operation == "name":
        return [str(node.value)]
    return [name for inner in node.operands for name in _names(inner)]
