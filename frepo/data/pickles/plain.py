"""Pickles of plain values, read without calling anything that they name.

A pickle is a program for a small stack machine. This one knows the operations that build numbers, text, lists, tuples
and dictionaries; whatever a pickle names is looked up in a closed list of the caller's.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, Protocol, runtime_checkable

MOST_OPERATIONS = 2**19
"""Operations of a pickle: the training images of CIFAR-100 take about 200,400, two labels and a name for each."""
LITERALS = (
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
)
"""Operations that push their argument."""
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
LARGEST_KEY = 2**32
"""Keys that are larger whole numbers can be chosen so that they all have one hash: a dictionary of them takes hours."""


@dataclass(frozen=True)
class Maker:
    """What stands for a function that a pickle names: a function of ours."""

    make: Callable[..., Any]


@runtime_checkable
class Stateful(Protocol):
    """A value that a pickle makes in two steps."""

    def set_state(self, state: Any) -> None:
        """Take what was missing."""


@dataclass
class PlainPickle:
    """Reads pickles one after the other.

    Attributes:
        find: what stands for "module name": a `Maker`, or a value that is handed on; raises where nothing does.
        persistent: what stands for a value that is stored outside of the pickle, by its identifier.
    """

    find: Callable[[str], Any]
    persistent: Callable[[Any], Any]
    _stack: list[Any] = field(default_factory=list)
    _marks: list[int] = field(default_factory=list)
    _memo: dict[int, Any] = field(default_factory=dict)

    def load(self, file: IO[bytes]) -> Any:
        """Return the value of the pickle that begins here, and leave the file behind its end.

        Raises:
            Exception: of any kind, for bytes that are no pickle of plain values.
        """
        self._stack, self._marks, self._memo = [], [], {}
        for count, (operation, argument, _) in enumerate(pickletools.genops(file)):
            if count == MOST_OPERATIONS:
                raise ValueError(f"it takes more than {MOST_OPERATIONS:,} operations")
            if operation.name != "STOP":
                self._step(operation.name, argument)
        (value,) = self._stack
        return value

    def _step(self, name: str, argument: Any) -> None:
        """Do an operation that moves values; those that build some follow."""
        if name in LITERALS:
            self._stack.append(argument)
        elif name in CONSTANTS:
            self._stack.append(CONSTANTS[name])
        elif name == "MARK":
            self._marks.append(len(self._stack))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif name not in ("PROTO", "FRAME"):
            self._build(name, argument)

    def _build(self, name: str, argument: Any) -> None:
        stack = self._stack
        match name:
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "TUPLE":
                stack.append(tuple(self._marked()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self._popped(TUPLES[name])))
            case "APPEND":
                self._extend(self._popped(1))
            case "APPENDS":
                self._extend(self._marked())
            case "SETITEM":
                self._update(self._popped(2))
            case "SETITEMS":
                self._update(self._marked())
            case "GLOBAL":
                stack.append(self.find(argument))
            case "STACK_GLOBAL":
                stack.append(self.find(" ".join(self._popped(2))))
            case "BINPERSID":
                stack.append(self.persistent(stack.pop()))
            case "REDUCE":
                self._call(*self._popped(2))
            case "BUILD":
                self._set_state(stack.pop())
            case _:
                raise ValueError(f"it has the operation {name}, which plain values do without")

    def _popped(self, count: int) -> list[Any]:
        values = self._stack[-count:]
        if len(values) != count:
            raise ValueError("it takes more values than it has")
        del self._stack[-count:]
        return values

    def _marked(self) -> list[Any]:
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def _extend(self, values: list[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise TypeError("it appends to a value that is no list")
        self._stack[-1] += values

    def _update(self, values: list[Any]) -> None:
        if type(self._stack[-1]) is not dict or not all(map(_is_key, values[::2])):
            raise TypeError("it has an entry of no dictionary, or under no name")
        self._stack[-1].update(zip(values[::2], values[1::2], strict=True))

    def _call(self, maker: Any, arguments: Any) -> None:
        if not isinstance(maker, Maker) or type(arguments) is not tuple:
            raise TypeError("it calls a value that is no function")
        self._stack.append(maker.make(*arguments))

    def _set_state(self, state: Any) -> None:
        value = self._stack[-1]
        if isinstance(value, Stateful):
            value.set_state(state)
        elif type(value) is not dict:  # PyTorch gives the dictionary of a module's parameters attributes; not needed
            raise TypeError("it changes a value that has no state")


def _is_key(value: Any) -> bool:
    """Return whether a value may name an entry; the hash of a tuple goes as deep as the tuple does."""
    return value is None or isinstance(value, str) or (isinstance(value, int) and abs(value) < LARGEST_KEY)
