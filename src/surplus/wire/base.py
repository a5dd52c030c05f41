"""What all schemas share: how requests and answers are read, and how money, instants and names are written."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Request(BaseModel):
    """A body that a client sends. Unknown fields and values of another type are refused, never bent into shape."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Answer(BaseModel):
    """A body that the server sends. A client ignores fields that it does not know: a newer server may send more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


Dollars = Annotated[
    str,
    Field(
        max_length=40,
        description="US dollars as a decimal string, in steps of a micro-dollar.",
        examples=["12.500000"],
        json_schema_extra={"pattern": r"^-?[0-9]{1,15}(\.[0-9]{1,6})?$"},
    ),
]
"""Money, exact. The pattern is for the reader of the schema: the server says in words what is wrong with an amount."""

ExactDollars = Annotated[
    str, Field(description="US dollars as a decimal string, exact to its last digit.", examples=["0.00001725"])
]

DollarsPerMillion = Annotated[
    str,
    Field(
        max_length=40,
        description="US dollars per million tokens as a decimal string.",
        examples=["0.15"],
        json_schema_extra={"pattern": r"^[0-9]{1,15}(\.[0-9]{1,12})?$"},
    ),
]

Instant = Annotated[
    str,
    Field(
        max_length=40,
        description="An instant as ISO 8601 with an offset; answers are in UTC.",
        examples=["2026-11-21T09:00:00Z"],
        json_schema_extra={"format": "date-time"},
    ),
]

Name = Annotated[str, Field(max_length=300)]
"""A name or an id. The server says in words what is wrong with one."""
