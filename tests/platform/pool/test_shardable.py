"""Every table, key, index and statement carries stock_no: a distributed PostgreSQL can keep each stock on one node.

Read from the migrations, `queries.sql` and the code: it holds without the extension. Where a statement may look at all
stocks, it is named here, with the reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from quanma.platform.pool import migrations
from quanma.platform.pool.postgres import schema
from quanma.platform.pool.postgres.queries import read
from tests.support.every import every_row

PACKAGE = Path(schema.__file__).parent
ACROSS = {  # Name of the statement: why it may look at more than one stock. None is on a request's path
    # where the tables are spread over nodes.
    "waiting": "the outbox looks for merchants with due events",
    "waiting_on_nodes": "the same, where the tables are spread over nodes",
    "stocks_waiting": "the outbox looks for stocks with due events",
    "coupons_at_merchant": "a user's list; where there are many nodes, stock by stock",
    "stock_of_event": "one event; where there are many nodes, stock by stock",
    "events_of_merchant": "a merchant's events; where there are many nodes, stock by stock",
}
QUERIES = read((PACKAGE / "queries.sql").read_text("utf-8"))
MODULES = {  # Module: why its statements are not a request's.
    "schema.py": "it makes the tables",
    "reconcile.py": "what is done beside serving",
    "transfer.py": "a whole pool is moved",
}
VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")


def ddl() -> str:
    text = "\n".join(step.sql for step in migrations.all_migrations(schema.BACK_END))
    return re.sub(r"--[^\n]*", "", text)


def tables() -> dict[str, str]:
    """Each table, and what stands between its parentheses."""
    return dict(re.findall(r"CREATE TABLE (\w+) \((.*?)\)(?: WITH \([^)]*\))?;", ddl(), re.DOTALL))


def statements() -> dict[str, str]:
    """Every statement by its name, and every SQL text in the package's modules, on one line each."""
    found: list[str] = []
    for file in sorted(PACKAGE.glob("*.py")):
        if file.name not in MODULES:
            found += _texts(ast.parse(file.read_text("utf-8")))
    bare = [" ".join(text.split()) for text in found if text.split(" ")[0] in VERBS]
    return QUERIES | {text: text for text in bare}


def _texts(tree: ast.AST) -> Iterator[str]:
    """Texts, with `…` where a value is put in: names of columns, or a statement that was begun elsewhere."""
    if isinstance(tree, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in tree.values)
    elif isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree.value
    else:
        for child in ast.iter_child_nodes(tree):
            yield from _texts(child)


def breaches(statement: str) -> list[str]:
    """Where a statement touches a distributed table, and not one stock's rows of it."""
    wrong: list[str] = []
    for verb, table, alias in re.findall(
        r"\b(FROM|JOIN|INTO|UPDATE) (\w+)(?: (?!ON\b|SET\b|WHERE\b|ORDER\b)(\w))?", statement
    ):
        if table not in schema.DISTRIBUTED:
            continue
        if verb == "INTO":
            inserted = re.search(rf"INTO {table} \(stock_no\b[^)]*\) (SELECT|VALUES \()\s*\$1\b", statement)
            wrong += [] if inserted else [f"INTO {table}"]
        else:
            name = rf"{alias}\." if alias else ""
            wrong += [] if re.search(rf"(?<![\w.]){name}stock_no = \$1\b", statement) else [f"{verb} {table}"]
    return wrong


def test_every_table_is_distributed_by_stock_no_or_small_reference_data() -> None:
    assert {*schema.DISTRIBUTED, *schema.REFERENCE} == tables().keys()
    assert not {*schema.DISTRIBUTED} & {*schema.REFERENCE}


@every_row("table", schema.DISTRIBUTED)
def test_every_key_of_a_distributed_table_carries_stock_no(table: str) -> None:
    body = tables()[table]
    assert re.search(r"stock_no +integer (NOT NULL|PRIMARY KEY)", body)
    keys = re.findall(r"(?:PRIMARY KEY|UNIQUE|FOREIGN KEY) \(([^)]*)\)", body)
    assert keys or "PRIMARY KEY REFERENCES stock" in body or f"ALTER TABLE {table} REPLICA IDENTITY FULL" in ddl()
    assert [key for key in keys if "stock_no" not in key.split(", ")] == []


def test_every_index_of_a_distributed_table_carries_stock_no() -> None:
    indexes = re.findall(r"CREATE (?:UNIQUE )?INDEX (\w+) ON (\w+) \((.*?)\)(?: WHERE [^;]*)?;", ddl())
    assert len(indexes) >= 4
    assert [name for name, table, key in indexes if table in schema.DISTRIBUTED and "stock_no" not in key] == []


def test_every_statement_on_a_requests_path_is_about_one_stock() -> None:
    found = statements()
    assert len(QUERIES) > 60
    assert {name: breaches(sql) for name, sql in found.items() if name not in ACROSS and breaches(sql)} == {}


def test_only_what_looks_at_more_stocks_is_excepted() -> None:
    assert {name for name, sql in QUERIES.items() if breaches(sql)} == ACROSS.keys()


def test_every_statement_is_used_once_loaded_and_has_a_sentence() -> None:
    sources = "".join(file.read_text("utf-8") for file in PACKAGE.glob("*.py"))
    assert [name for name in QUERIES if f'query("{name}")' not in sources] == []
    text = (PACKAGE / "queries.sql").read_text("utf-8")
    assert re.findall(r"^-- name: (\w+)\n(?!-- )", text, re.MULTILINE) == []


@every_row(
    ("statement", "breach"),
    [
        ("SELECT position FROM code WHERE coupon_code = $1", ["FROM code"]),
        ("SELECT 1 FROM code c JOIN coupon k ON k.position = c.position WHERE c.stock_no = $1", ["JOIN coupon"]),
        ("UPDATE coupon SET coupon_state = 'USED' WHERE coupon_code = $1", ["UPDATE coupon"]),
        ("INSERT INTO answered (operation, stock_no) VALUES ($1, $2)", ["INTO answered"]),
        ("DELETE FROM stock_counters WHERE stock_no = ANY($1)", ["FROM stock_counters"]),
        ("SELECT request FROM stock WHERE mchid = $1", []),
        ("UPDATE coupon SET coupon_state = 'USED' WHERE stock_no = $1 AND coupon_code = $2", []),
    ],
)
def test_a_breach_is_found(statement: str, breach: list[str]) -> None:
    assert breaches(statement) == breach
