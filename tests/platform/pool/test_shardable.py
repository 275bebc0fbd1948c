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
ON_ONE_NODE = {  # Statements that are only run where there is one node, and those that are run elsewhere.
    "give": ("forget_slots", "keep_blocks", "add_coupons"),
    "store": ("add_pieces", "add_codes"),
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
            inserted = re.search(
                rf"INTO {table}(?: AS \w)? \(stock_no\b[^)]*\) (SELECT q\.stock_no\b|VALUES \(\$1\b)", statement
            )
            wrong += [] if inserted else [f"INTO {table}"]
        else:
            name = rf"{alias}\." if alias else ""
            wrong += [] if re.search(rf"(?<![\w.]){name}stock_no = \$1\b", statement) else [f"{verb} {table}"]
    return wrong


def shared_out(statement: str) -> list[str]:
    """Why the coordinator would do what a statement writes itself, and commit it in two phases.

    Source: seen with Citus 13.2.2. A SELECT that feeds an INSERT goes to the node whole only if its stock_no comes from
    a row there: a constant beside `unnest` brings the rows to the coordinator, and so do LIMIT and OFFSET. Two tables
    can't be written to by one statement there.
    """
    found: list[str] = []
    writes = re.findall(r"\b(?:INSERT INTO|UPDATE|DELETE FROM) (\w+)", re.sub(r"DO UPDATE|FOR UPDATE", "", statement))
    if len([table for table in writes if table in schema.DISTRIBUTED]) > 1:
        found.append("more than one table")
    inserted = re.search(r"INSERT INTO (\w+)(?: AS \w)? \([^)]*\) (.*)", statement)
    if inserted is None or inserted[1] not in schema.DISTRIBUTED or inserted[2].startswith("VALUES"):
        return found
    if not re.match(r"SELECT q\.stock_no\b.* FROM stock_lock q\b.* WHERE q\.stock_no = \$1", inserted[2]):
        found.append("not driven by the stock's row")
    if re.search(r"\b(LIMIT|OFFSET)\b", inserted[2]):
        found.append("LIMIT or OFFSET")
    return found


def test_no_statement_of_one_stock_needs_a_commit_in_two_phases() -> None:
    assert {
        name: shared_out(sql) for name, sql in statements().items() if name not in ON_ONE_NODE and shared_out(sql)
    } == {}


def test_what_writes_to_several_tables_at_once_is_put_together_of_what_does_not() -> None:
    assert {name for name, sql in QUERIES.items() if shared_out(sql)} == {*ON_ONE_NODE}
    text = (PACKAGE / "queries.sql").read_text("utf-8")
    for name, parts in ON_ONE_NODE.items():
        (statement,) = re.findall(rf"^-- name: {name}\n(?:--.*\n)*((?:(?!--).*\n)*)", text, re.MULTILINE)
        assert tuple(re.findall(r"\{do (\w+) with", statement)) == parts


@every_row(
    ("statement", "why"),
    [
        ("INSERT INTO code (stock_no, position) SELECT $1, u FROM unnest($2) u", ["not driven by the stock's row"]),
        (
            "INSERT INTO code (stock_no, position) SELECT q.stock_no, u FROM stock_lock q, unnest($2) u",
            ["not driven by the stock's row"],
        ),
        (
            "INSERT INTO code (stock_no) SELECT q.stock_no FROM stock_lock q, (SELECT LIMIT 1) WHERE q.stock_no = $1",
            ["LIMIT or OFFSET"],
        ),
        (
            "WITH gone AS (DELETE FROM block WHERE stock_no = $1) INSERT INTO terms (stock_no) VALUES ($1)",
            ["more than one table"],
        ),
        (
            "INSERT INTO code (position) SELECT q.stock_no FROM stock_lock q WHERE q.stock_no = $1 ON CONFLICT",
            [],
        ),
        ("INSERT INTO code (stock_no, position) VALUES ($1, $2)", []),
        ("INSERT INTO card (key) SELECT $1", []),
    ],
)
def test_what_is_shared_out_is_found(statement: str, why: list[str]) -> None:
    assert shared_out(statement) == why


def test_every_table_is_distributed_by_stock_no_or_small_reference_data() -> None:
    assert sorted((*schema.DISTRIBUTED, *schema.REFERENCE, *schema.LOCAL)) == sorted(tables())


def test_no_statement_reads_a_table_of_one_node_together_with_others() -> None:
    kinds = (*schema.DISTRIBUTED, *schema.REFERENCE), schema.LOCAL
    for sql in statements().values():
        named = {*re.findall(r"\b(?:FROM|JOIN|INTO|UPDATE) (\w+)", sql)}
        assert not all(named & {*kind} for kind in kinds), sql


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
