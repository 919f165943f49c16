"""Numbers of requests: in a body of JSON, `true` and `"1"` are none, as its schema says.

seed: Annotated[int, NUMBER]
top_k: Annotated[int, NUMBER_OR_TEXT]     also of a form's field or a query's parameter
"""

from typing import Any

from pydantic import BeforeValidator, ValidationInfo
from pydantic_core import PydanticCustomError


def _number(value: Any) -> Any:
    if isinstance(value, bool | str):
        kind = "text" if isinstance(value, str) else "true or false"
        raise PydanticCustomError("number_type", f"Input should be a number, and not {kind}")
    return value


def _number_or_text(value: Any, info: ValidationInfo) -> Any:
    # Forms and queries have texts alone, and come as Python's values.
    return value if isinstance(value, str) and info.mode == "python" else _number(value)


NUMBER = BeforeValidator(_number)
NUMBER_OR_TEXT = BeforeValidator(_number_or_text)
