"""Files of coupon codes, read strictly: what stands in the file, with its row number, and nothing repaired.

`open_source` reads text, CSV and TSV, JSON lines, Excel and Parquet, gzip or zstd of the first three,
and standard input; `open_query` reads the rows of a SQL query.
"""

from .block import Block, Source
from .opening import open_source, open_sources
from .query import open_query
from .reading import PLAIN, Reading

__all__ = ["PLAIN", "Block", "Reading", "Source", "open_query", "open_source", "open_sources"]
