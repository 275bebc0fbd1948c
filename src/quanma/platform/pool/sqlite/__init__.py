"""The code pool in one SQLite file, with an index in memory. The main thing: pool.py. Why: docs/pool.md."""
