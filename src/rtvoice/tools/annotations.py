"""Annotations as Python programmers write them, turned into those that pydantic reads the way we want."""

import sys
import types
from collections.abc import Callable, Collection, Iterable
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from pydantic import Field
from pydantic.fields import FieldInfo


def for_pydantic(annotation: Any) -> Any:
    """Return an equivalent annotation that pydantic can validate and describe.

    * ``Annotated[T, "text"]`` gets the text as its description.
    * ``Iterable[T]`` and ``Collection[T]`` become ``list[T]``: pydantic would check the items of an iterable only
      while the tool consumes it, and does not know the other.
    * ``typing.TypedDict`` becomes that of ``typing_extensions`` before Python 3.12, which is what pydantic asks for.
    """
    if annotation in (Iterable, Collection):
        return list[Any]
    if sys.version_info < (3, 12) and is_typeddict(annotation):
        return _typed_dict(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if not arguments or origin in (Literal, Callable):
        return annotation
    if origin is Annotated:
        return Annotated[(for_pydantic(arguments[0]), *_described(annotation.__metadata__))]
    converted = tuple(for_pydantic(argument) for argument in arguments)
    if origin in (Iterable, Collection):
        return list[converted]  # type: ignore[valid-type]
    if all(new is old for new, old in zip(converted, arguments, strict=True)):
        return annotation
    if origin in (Union, types.UnionType):
        return Union[converted]  # noqa: UP007 - the members are not known here
    return origin[converted]


def _described(metadata: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the metadata of ``Annotated`` with the first bare string as description, unless a Field has one."""
    texts = [item for item in metadata if isinstance(item, str)]
    others = tuple(item for item in metadata if not isinstance(item, str))
    if not texts or any(isinstance(item, FieldInfo) and item.description for item in others):
        return others or ("",)  # Annotated needs something; pydantic ignores a string
    return (*others, Field(description=texts[0]))


if sys.version_info < (3, 12):  # pragma: no branch - coverage is measured on the oldest Python

    def _typed_dict(annotation: Any) -> Any:
        """Return the same TypedDict, made by ``typing_extensions`` (which pydantic itself depends on)."""
        import typing_extensions

        fields = {}
        for name, hint in get_type_hints(annotation, include_extras=True).items():
            presence: Any = Required if name in annotation.__required_keys__ else NotRequired
            plain = hint
            if get_origin(hint) in (Required, NotRequired):
                # written in a string, it is missing in __required_keys__
                presence, plain = get_origin(hint), get_args(hint)[0]
            fields[name] = presence[for_pydantic(plain)]
        make: Any = typing_extensions.TypedDict  # type checkers want literal fields
        converted = make(annotation.__name__, fields)
        converted.__doc__ = annotation.__doc__
        return converted
