"""A database that answers as a Citus cluster does, where the pool asks for nodes: three, of which two have stocks.

No package of Citus can be installed here. What it is asked about its nodes is answered by views and functions of the
same names, from a table that a test changes; all rows lie in the one database. So this shows what the pool does with
the answers, and not what Citus does with the statements.
"""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

COORDINATOR, EVEN, ODD = "coordinator:5432", "worker-0:5432", "worker-1:5432"
"""The nodes. Where a stock's rows are: its number decides."""

_STAND_IN = f"""
CREATE TABLE node (groupid integer, name text, answers boolean, settings text);
INSERT INTO node VALUES (0, '{COORDINATOR}', true, 'on,on,off'), (1, '{EVEN}', true, 'on,on,on'),
    (2, '{ODD}', true, 'on,on,on');
CREATE VIEW pg_dist_node AS SELECT groupid AS nodeid, groupid, split_part(name, ':', 1) AS nodename,
    split_part(name, ':', 2)::integer AS nodeport FROM node;
CREATE VIEW pg_dist_local_group AS SELECT 0 AS groupid;
CREATE VIEW pg_dist_shard_placement AS SELECT groupid AS shardid, nodename, nodeport FROM pg_dist_node;
CREATE FUNCTION get_shard_id_for_distribution_column(regclass, integer) RETURNS bigint LANGUAGE sql AS
    'SELECT $2 % 2 + 1';
CREATE FUNCTION run_command_on_all_nodes(text) RETURNS TABLE (nodeid integer, success boolean, result text)
    LANGUAGE sql AS 'SELECT groupid, answers, CASE WHEN $1 LIKE ''%fsync%'' THEN settings ELSE ''1'' END FROM node';
CREATE FUNCTION run_command_on_shards(regclass, text) RETURNS TABLE (success boolean, result text)
    LANGUAGE plpgsql AS 'BEGIN success := true; EXECUTE format($2, ''event_row'') INTO result; RETURN NEXT; END';
CREATE FUNCTION is_reached(stock_no integer) RETURNS boolean LANGUAGE plpgsql COST 100000 AS $$
    BEGIN
        IF (SELECT answers FROM node WHERE groupid = stock_no % 2 + 1) THEN RETURN true; END IF;
        RAISE EXCEPTION 'connection to the remote node failed' USING ERRCODE = 'connection_failure';
    END $$;
ALTER TABLE event RENAME TO event_row;
CREATE VIEW event AS SELECT * FROM event_row WHERE is_reached(stock_no);
"""


def stand_in(url: str) -> None:
    """Let a pool's database answer so, from now on."""
    _run(url, _STAND_IN)


def set_node(url: str, name: str, *, answers: bool = True, settings: str = "on,on,on") -> None:
    """`settings`: its fsync, full_page_writes and synchronous_commit."""
    _run(url, "UPDATE node SET answers = $2, settings = $3 WHERE name = $1", name, answers, settings)


def _run(url: str, statement: str, *arguments: Any) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(statement, *arguments)
        await connection.close()

    asyncio.run(run())
