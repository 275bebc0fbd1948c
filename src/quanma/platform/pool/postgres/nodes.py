"""The nodes of a Citus cluster: whether each answers, and keeps what is committed there.

Our sessions' settings hold on the node that we are connected to. The others have their own, and a node that loses
commits loses those of its stocks.
"""

from __future__ import annotations

from typing import Any

from .session import check_durable

Connection = Any


async def nodes_away(connection: Connection) -> list[str]:
    """Return the nodes that do not answer. Raises StoreUnavailable: one that does can lose what it said it keeps."""
    silent: list[str] = []
    for node, is_own, answered, told in await connection.fetch(_ASK):
        if not answered:
            silent.append(node)
            continue
        fsync, full_page_writes, synchronous_commit = told.split(",")
        # On the node that we are connected to, our own session's counts: it is set there, and looked at by itself.
        check_durable(fsync, full_page_writes, "on" if is_own else synchronous_commit, f"node {node}")
    return silent


_ASK = (
    "SELECT n.nodename || ':' || n.nodeport, n.groupid = (SELECT groupid FROM pg_dist_local_group), r.success, r.result"
    " FROM run_command_on_all_nodes('SELECT concat_ws('','', current_setting(''fsync''),"
    " current_setting(''full_page_writes''), current_setting(''synchronous_commit''))') r"
    " JOIN pg_dist_node n ON n.nodeid = r.nodeid"
    " ORDER BY n.groupid"
)
