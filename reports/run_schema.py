"""The published JSON Schema of run.jsonl's lines, made from the types that they are read into."""

import inspect
import json
from pathlib import Path
from typing import Any

import msgspec

from lastbit.environment import Environment
from lastbit.reports.run_data import NOT_NEGATIVE, VERSION, Explained, Footer, Header, Part
from lastbit.verdict import ErrorStats, Record, Timing, Verdict

FILE = Path(__file__).with_name("run.schema.json")
#: What "type" says of a line, and what the rest of it is.
LINES = {"run": Header, "record": Record, "end": Footer}
#: Types whose fields are described, each where it is declared; a record keeps what a verdict says.
_DESCRIBED = (Environment, ErrorStats, Explained, Footer, Header, Part, Record, Timing)


def text() -> str:
    """The schema as it is published, in `FILE`."""
    return json.dumps(schema(), indent=1) + "\n"


def schema() -> dict[str, Any]:
    """JSON Schema, draft 7, of a line of run.jsonl: the first is a run, the last an end, those between are records.

    As the reader does, it refuses a line with a field that it does not know.
    """
    _, made = msgspec.json.schema_components(LINES.values(), ref_template="#/definitions/{name}")
    definitions = _draft7(made)
    for described in _DESCRIBED:
        for name, words in _words(described).items():
            definitions[described.__name__]["properties"][name]["description"] = words
    for counted, names in NOT_NEGATIVE.items():
        for name in names:
            definitions[counted.__name__]["properties"][name]["minimum"] = 0
    for kind, data in LINES.items():
        line = definitions[data.__name__]
        own = {**line["properties"], "type": {"const": kind}}
        definitions[kind] = {**line, "properties": own, "required": ["type", *line["required"]]}
        definitions[kind]["additionalProperties"] = False
    definitions["run"]["properties"]["v"] = {"const": VERSION}
    definitions["run"]["required"].append("v")
    for unused in ("Header", "Record"):
        del definitions[unused]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A line of run.jsonl",
        "description": "lastbit stores a run as lines of JSON: its head, a record for each check, and its end.",
        "oneOf": [{"$ref": f"#/definitions/{kind}"} for kind in LINES],
        "definitions": definitions,
    }


def _words(kind: type) -> dict[str, str]:
    """What the comments of a type say of its fields."""
    said = _words(Verdict) if kind is Record else {}
    held: list[str] = []
    for line in inspect.getsource(kind).splitlines():
        name, comment, words = line.strip().partition("#:")
        if comment and not name:
            held.append(words.strip())
            continue
        field = name.partition(":")[0]
        if held and field.isidentifier():
            said[field] = " ".join(held)
        held = []
    return said


def _draft7(part: Any) -> Any:
    """A schema of draft 2020-12 as one of draft 7, which more validators read: they differ in pairs only."""
    if isinstance(part, list):
        return [_draft7(one) for one in part]
    if not isinstance(part, dict):
        return part
    made = {name: _draft7(value) for name, value in part.items()}
    if "prefixItems" in made:
        made |= {"items": made.pop("prefixItems"), "additionalItems": False}
    return made
