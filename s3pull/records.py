"""Frozen records that are there at once.

`dataclasses` writes and compiles code for each class while a program starts, and every run waits for it. What is plain
is a `NamedTuple` instead; what holds a secret, or has more fields than one tells by place, is a `Record`: nobody
unpacks it, and nothing that writes out lists or tuples writes it.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:

    class _Named(type):
        """Makes of a class's annotations what `collections.namedtuple` makes of names; all else stays as it is written.

        `typing.NamedTuple` does the same, and compiles each annotation on the way, to see whether it is one: two thirds
        of its time, a twentieth of that of a run for one object. Here mypy sees to that.
        """

        def __new__(mcls, name, bases, body):
            if not bases:
                return super().__new__(mcls, name, bases, body)
            fields = body["__annotations__"]
            defaults = [body[field] for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults, module=body["__module__"])
            for key in body.keys() - fields.keys() - {"__module__"}:
                setattr(made, key, body[key])
            return made

    class NamedTuple(metaclass=_Named):
        """To be derived from, as from typing's."""


@dataclass_transform(frozen_default=True)
class Record:
    """A subclass's annotated attributes are its fields, with their defaults: given by place or name, never changed.

    `repr` leaves out what is `hidden`, comparison what is `aside`. Raises TypeError where values and fields differ.
    """

    _fields: ClassVar[tuple[str, ...]] = ()
    _hidden: ClassVar[frozenset[str]] = frozenset()
    _aside: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, *, hidden: Collection[str] = (), aside: Collection[str] = ()) -> None:
        cls._fields = (*cls._fields, *(name for name in cls.__annotations__ if name not in cls._fields))
        cls._hidden, cls._aside = cls._hidden.union(hidden), cls._aside.union(aside)

    def __init__(self, *values: Any, **named: Any) -> None:
        given = dict(zip(self._fields, values, strict=False))
        wrong = [name for name in named if name in given or name not in self._fields]
        wrong += [name for name in self._fields if not (name in given or name in named or hasattr(type(self), name))]
        if wrong or len(values) > len(self._fields):
            raise TypeError(f"{type(self).__name__}: {', '.join(wrong) or f'{len(values)} values'}")
        self.__dict__.update(given, **named)

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Their names, those of the record that it extends first."""
        return cls._fields

    def but(self, **changes: Any) -> Self:
        """The same with some fields changed."""
        return type(self)(**(self.__dict__ | changes))

    def _compared(self) -> list[Any]:
        return [getattr(self, name) for name in self._fields if name not in self._aside]

    def __eq__(self, other: object) -> bool:
        return self._compared() == other._compared() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._compared()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields if name not in self._hidden)
        return f"{type(self).__name__}({shown})"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name}")
