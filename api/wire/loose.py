"""Loose types: the forms in which clients of this protocol send numbers, switches and nothing.

`"512"` and `512`, `"yes"` and `true`, `null`, `""` and `"no"` all appear in the wild. Anything else gets a
sentence that says what to send.
"""

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from shared.jobs import Scalar

LONGEST_TEXT = 10_000
LONGEST_URL, LONGEST_TRACK_ID = 8_192, 1_000
LARGEST_NUMBER = 10**30
"""JSON allows integers that no float can hold; nothing here means one."""
MOST_NAMES, LONGEST_NAME = 16, 200
ABSENT_WORDS = frozenset({"", "no", "none", "null"})
_YES = frozenset({"yes", "true", "1", "on"})
_NO = frozenset({"no", "false", "0", "off"})


def _number(value: Any) -> float | int | None:
    """The number that `value` spells, or None. A trailing comma is forgiven: the API's examples have one."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip().rstrip(",")
        try:
            return int(text) if text.lstrip("+-").isdecimal() and len(text) < 30 else float(text)
        except ValueError:
            return None
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        return None
    return value if isinstance(value, int | float) else None


def _whole_number(value: Any) -> int:
    number = _number(value)
    if number is None or not math.isfinite(number) or number != int(number):
        raise PydanticCustomError("sentence", "must be a whole number")
    return int(number)


def _finite_number(value: Any) -> float:
    number = _number(value)
    if number is None or not math.isfinite(number):
        raise PydanticCustomError("sentence", "must be a number")
    return float(number)


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, str | int) else ""
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise PydanticCustomError("sentence", "must be yes or no")


def _optional_text(value: Any) -> Any:
    """`null`, `""`, `"no"` and `"none"` mean that the field is not there."""
    if isinstance(value, str) and value.strip().lower() in ABSENT_WORDS:
        return None
    return value


def _picture(value: Any) -> Any:
    """A URL or base64, or a list with one of them: some families of the protocol send lists."""
    value = _only_one(value)
    if not isinstance(value, str):
        raise PydanticCustomError("sentence", "must be a URL or a picture in base64")
    if _optional_text(value) is None:
        raise PydanticCustomError("sentence", "is required: send a URL or a picture in base64")
    if value.lstrip()[:4].lower() == "http" and len(value) > LONGEST_URL:
        raise PydanticCustomError("sentence", f"must be at most {LONGEST_URL} characters, as a URL")
    return value


def _only_one(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    if len(value) > 1:
        raise PydanticCustomError("sentence", "must be one picture: a URL or base64")
    return value[0] if value else ""


def _optional_picture(value: Any) -> Any:
    return _optional_text(_only_one(value))


def _parts(value: Any) -> list[Any]:
    """A comma-separated list, or a JSON one; empty parts are forgiven: the API's examples have one."""
    if isinstance(value, list):
        return [part for part in value if part not in ("", None)]
    if not isinstance(value, str):
        return [] if value is None else [value]
    if value.strip().lower() in ABSENT_WORDS:
        return []
    return [part.strip() for part in value.split(",") if part.strip()]


def _names(value: Any) -> tuple[str, ...]:
    names = _parts(value)
    if len(names) > MOST_NAMES:
        raise PydanticCustomError("sentence", f"must hold at most {MOST_NAMES} ids")
    if not all(isinstance(name, str) and len(name) <= LONGEST_NAME for name in names):
        raise PydanticCustomError("sentence", "must be ids separated by commas")
    return tuple(name.strip() for name in names)


def _numbers(value: Any) -> tuple[float, ...]:
    numbers = [_number(part) for part in _parts(value)]
    if len(numbers) > MOST_NAMES:
        raise PydanticCustomError("sentence", f"must hold at most {MOST_NAMES} numbers")
    if not all(number is not None and math.isfinite(number) for number in numbers):
        raise PydanticCustomError("sentence", "must be numbers separated by commas")
    return tuple(float(number) for number in numbers if number is not None)


def _scalar(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and (_number(value) is None or not math.isfinite(value)):
        raise PydanticCustomError("sentence", "must be a number of ordinary size")
    if isinstance(value, str) and len(value) > LONGEST_TRACK_ID:
        raise PydanticCustomError("sentence", f"must be at most {LONGEST_TRACK_ID} characters")
    if not isinstance(value, str | int | float | bool | None):
        raise PydanticCustomError("sentence", "must be a string, a number, a boolean or null")
    return value


WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
Number = Annotated[float, BeforeValidator(_finite_number)]
Switch = Annotated[bool, BeforeValidator(_switch)]
OptionalText = Annotated[
    Annotated[str, Field(max_length=LONGEST_TEXT)] | None, BeforeValidator(_optional_text)
]
PictureText = Annotated[str, BeforeValidator(_picture)]
"""As long as a request may be: base64 is."""
OptionalPictureText = Annotated[
    Annotated[str, BeforeValidator(_picture)] | None, BeforeValidator(_optional_picture)
]
Names = Annotated[tuple[str, ...], BeforeValidator(_names, json_schema_input_type=str)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(_numbers, json_schema_input_type=str)]
AnyScalar = Annotated[Scalar, BeforeValidator(_scalar)]
