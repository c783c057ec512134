"""A schema is data: what it may say, and how it says what is wrong with it."""

from pathlib import Path

import pytest

from tools.errors import PermanentError
from tools.quality.schema import load, parse

PLAIN = "table: t\ncolumns:\n- {name: x, type: integer}\n"
BOMB = (
    "a0: &a0 [x]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
    + PLAIN.replace("integer", "integer, minimum: *a9")
)


def test_what_is_not_said_is_not_allowed() -> None:
    schema = parse(PLAIN)
    (column,) = schema.columns
    assert (column.required, column.nullable, schema.extra_columns) == (True, False, "refuse")


def test_the_same_content_has_the_same_version_however_it_is_written() -> None:
    other = "# a comment\ncolumns: [{type: integer, name: x}]\ntable: t\n"
    assert parse(PLAIN).version == parse(other).version
    assert parse(PLAIN).version != parse(PLAIN.replace("integer", "number")).version


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2]", "begins with `table:`"),
        ("a: b: c", "no YAML"),
        ("!!python/object/apply:os.system [ls]", "no YAML"),
        ("table: t\ncolumns: []", "columns: "),
        (PLAIN + "colums: 1", "colums: there is no such field"),
        ("table: t\ncolumns:\n- {name: x, type: int}", r"columns\[0\] \(x\)\.type"),
        (
            "table: t\ncolumns:\n- {name: x, type: integer, minimum: low}",
            "minimum: 'low' is no value of a column of type integer",
        ),
        ("table: t\ncolumns:\n- {name: x, type: integer, minimum: true}", "minimum: 'True' is no value"),
        ("table: t\ncolumns:\n- {name: x, type: integer, minimum: 9, maximum: 1}", "above the maximum"),
        ("table: t\ncolumns:\n- {name: x, type: number, maximum: .inf}", "maximum: 'inf' is no value"),
        ("table: t\ncolumns:\n- {name: x, type: integer, pattern: a}", "only text has them"),
        ("table: t\ncolumns:\n- {name: x, type: text, pattern: '['}", "pattern: "),
        ("table: t\ncolumns:\n- {name: x, type: text, required: false}", "has to be nullable"),
        ("table: t\ncolumns:\n- {name: x, type: text, max_nulls: 0.1}", "not nullable"),
        ("table: t\ncolumns:\n- {name: x, type: text}\n- {name: x, type: text}", "'x' is there twice"),
        (PLAIN + "rules: [{name: r, rule: x >}]", r"rules\[0\] \(r\): at character"),
        (PLAIN + "rules: [{name: r, rule: y > 1}]", "there is no column 'y'"),
        (PLAIN + "rules: [{name: r, rule: x > 1}, {name: r, rule: x > 2}]", "rules: 'r' is there twice"),
        (PLAIN + f"rules: [{{name: r, rule: x < {10**30}}}]", r"rules\[0\] \(r\): at character 5: 1000.* is beyond"),
        (f"table: t\ncolumns:\n- {{name: x, type: number, maximum: {10**400}}}", "maximum: '1000.* is no value"),
        (BOMB, r"aliases of YAML \(\*name\) are not taken"),
        (PLAIN + "unique: [{columns: [y]}]", "there is no column 'y'"),
        (PLAIN + "freshness: {column: x}", "has to be of type time or date"),
        ("table: t\ncolumns:\n- {name: x, type: time}\nfreshness: {column: x, max_age: 3}", "needs its unit"),
    ],
)
def test_a_schema_that_is_none_is_told_with_the_field(text: str, said: str) -> None:
    with pytest.raises(PermanentError, match=said):
        parse(text)


def test_a_schema_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="No such file"):
        load(tmp_path / "none.yaml")


def test_of_the_same_columns_the_wider_uniqueness_counts() -> None:
    schema = parse(
        "table: t\ncolumns: [{name: x, type: integer, unique: true}]\nunique: [{columns: [x], across_batches: true}]"
    )
    assert [(each.columns, each.across_batches) for each in schema.keys] == [(("x",), True)]
