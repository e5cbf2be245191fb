"""What all sections of a recipe are."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from budbreak.values import telling

MOST_IMAGES = 10**9
MOST_EPOCHS = 100_000  # more is a slip of the pen, and would list rows for hours

Images = Annotated[int, Field(ge=0, le=MOST_IMAGES)]
"""How many."""


class Section(BaseModel):
    """A part of a recipe: frozen, with nothing in it that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)

    def told(self) -> dict[str, Any]:
        """What tells it from others: the fields that are not at the default they were introduced with."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        fields = type(self).model_fields
        return {name: telling(value) for name, value in values.items() if value != usual(fields[name])}


def usual(field: FieldInfo) -> Any:
    """The default that a field had when it was new: results made before it keep their identity."""
    extra = field.json_schema_extra
    return extra.get("introduced", field.default) if isinstance(extra, dict) else field.default
