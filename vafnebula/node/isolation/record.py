"""A small stand-in for `dataclasses.dataclass(frozen=True)`, for the modules that `pre` imports.

The real one costs 25 ms at start-up (it imports inspect), which is more than the work of a whole hook.  Type checkers
are shown the real one.  Fields are the annotations of the class, in order; a value given in the class is a default.
"""

from __future__ import annotations

__all__ = ["as_dict", "record", "replace"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import dataclass as record
    from dataclasses import replace

else:

    def record(cls: type) -> type:
        """Give `cls` a constructor, equality, hash and repr over its fields, and make it immutable."""
        names = tuple(n for n, kind in cls.__annotations__.items() if not kind.startswith("ClassVar"))
        defaults = {n: cls.__dict__[n] for n in names if n in cls.__dict__}

        def __init__(self: object, *args: object, **kwargs: object) -> None:  # noqa: N807
            given = {**defaults, **dict(zip(names, args)), **kwargs}
            if len(given) != len(names) or len(args) > len(names):
                raise TypeError(f"{cls.__name__} takes exactly {', '.join(names)}, not {', '.join(given)}")
            self.__dict__.update(given)

        def __setattr__(self: object, name: str, value: object) -> None:  # noqa: N807
            raise AttributeError(f"{cls.__name__} is immutable")

        def values(self: object) -> tuple:
            return tuple(self.__dict__[n] for n in names)

        cls.__init__ = __init__
        cls.__setattr__ = __setattr__
        cls.__eq__ = lambda self, other: type(other) is cls and values(self) == values(other)
        cls.__hash__ = lambda self: hash(values(self))
        cls.__repr__ = lambda self: f"{cls.__name__}({', '.join(f'{n}={self.__dict__[n]!r}' for n in names)})"
        cls.__record_fields__ = names
        return cls

    def replace(item: object, **changes: object) -> object:
        """A copy of the record `item` with some fields changed."""
        return type(item)(**{**item.__dict__, **changes})


def as_dict(item: object) -> dict[str, object]:
    """The fields of a record by name, not deep."""
    return dict(item.__dict__)
