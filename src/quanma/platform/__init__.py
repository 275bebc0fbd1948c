"""The other side: what WeChat Pay answers. Needs the extra `platform`."""

from ..extras import need

need("quanma.platform", "platform")
