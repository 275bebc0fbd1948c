"""The code pool in a PostgreSQL database. `pool.py` has the pool; `quanma[postgres]` installs what it needs."""

from ....extras import need

need("PostgreSQL", "postgres")
