#!/usr/bin/env python3
"""Names the public types, protocols, methods and functions of a symbol graph that have no documentation comment.

Enumeration cases, stored properties and initialisers need none where the name is enough: a comment that repeats a name
helps no reader.
"""

import json
import sys

KINDS = {"class", "struct", "enum", "protocol", "typealias", "actor", "method", "type.method", "func"}


def undocumented(graph):
    for symbol in graph["symbols"]:
        if symbol["kind"]["identifier"].removeprefix("swift.") in KINDS and "docComment" not in symbol:
            yield ".".join(symbol["pathComponents"])


def main(path):
    with open(path, encoding="utf-8") as file:
        graph = json.load(file)
    if not graph["symbols"]:
        sys.exit(f"{path}: no symbols at all")
    names = sorted(undocumented(graph))
    for name in names:
        print(f"{graph['module']['name']}: {name} has no documentation comment", file=sys.stderr)
    sys.exit(1 if names else 0)


main(sys.argv[1])
