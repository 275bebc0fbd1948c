"""HTTP/1.1 on sockets, for whoever serves: strict framing, all bounds, turns, several processes. Knows no coupon.

Needs the extra `platform`.
"""

from ..extras import need

need("quanma.serving", "platform")
