"""python -m vafnebula.context: write what is made from the code (two documents and a JSON Schema) into the checkout."""

from __future__ import annotations

from pathlib import Path

from vafnebula.context import rules, schema

CHECKOUT = Path(__file__).parents[2]


def main() -> None:
    for name, text in (
        ("docs/context-lint.md", rules.document()),
        ("docs/context-schema.md", schema.document()),
        ("share/schema/cluster.schema.json", schema.json_schema()),
    ):
        (CHECKOUT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
