"""The environment's names that mean something here, and those that only look so."""

from __future__ import annotations

import difflib
import os
import re
import warnings

from ..errors import Misconfigured

MERCHANT = (
    "MCHID",
    "SERIAL_NO",
    "PRIVATE_KEY",
    "APIV3_KEY",
    "APIV2_KEY",
    "BASE_URL",
    "FALLBACK_URL",
    "H5_URL",
    "PROXY",
    "PLATFORM_KEYS",
    "DEADLINE_SECONDS",
    "ATTEMPT_SECONDS",
    "ATTEMPTS_MAX",
)
BRAND = ("BRAND_ID", "BRAND_SERIAL_NO", "BRAND_PRIVATE_KEY", "BRAND_KEY", "BRAND_BASE_URL", "BRAND_PLATFORM_KEYS")
OTHERS = ("CONFIG", "DATABASE", "LANG")
"""QUANMA_LANG: the language of what is printed."""
_OTHER_WORDS = {
    "TIMEOUT": "DEADLINE_SECONDS",
    "TIMEOUT_SECONDS": "DEADLINE_SECONDS",
    "DEADLINE": "DEADLINE_SECONDS",
    "RETRIES": "ATTEMPTS_MAX",
    "MAX_RETRIES": "ATTEMPTS_MAX",
    "ATTEMPTS": "ATTEMPTS_MAX",
    "KEY": "PRIVATE_KEY",
    "URL": "BASE_URL",
    "SERIAL": "SERIAL_NO",
    "MCH_ID": "MCHID",
}
"""What others call a setting, and its name here."""
_NOT_OURS = re.compile(
    # The names of tests, and of other programs of this family.
    r"(TEST|SANDBOX|INTEROP|WITHOUT)_.*|WORKERS"
    # What Kubernetes puts there for a service whose name begins with quanma.
    r"|(.*_)?SERVICE_(HOST|PORT(_.*)?)|(.*_)?PORT(_[0-9]+_(TCP|UDP|SCTP)(_.*)?)?"
)


class UnknownVariable(UserWarning):
    """A variable of the environment begins with QUANMA_ and is no setting."""


def check() -> None:
    """Tell of each QUANMA_ variable that is no setting.

    One that is close to a setting's name is a mistake: the setting that was meant would be left out in silence, and
    with `QUANMA_BASE_URI` the requests go to WeChat Pay. Any other is warned of.

    Raises:
        Misconfigured: one is close to a setting's name.
    """
    known = [f"QUANMA_{name}" for name in (*MERCHANT, *BRAND, *OTHERS)]
    for variable in sorted(os.environ):
        name = variable.upper().removeprefix("QUANMA_")
        if variable in known or not variable.upper().startswith("QUANMA_") or _NOT_OURS.fullmatch(name):
            continue
        near = difflib.get_close_matches(name, (*MERCHANT, *BRAND, *OTHERS), n=1, cutoff=0.7)
        if near:
            raise Misconfigured(
                f"{variable[:80]} is set and is no setting: is QUANMA_{near[0]} meant? Correct it, or unset it"
            )
        meant = f"; is QUANMA_{_OTHER_WORDS[name]} meant?" if name in _OTHER_WORDS else ""
        warnings.warn(
            f"{variable[:80]} is set and is no setting, so it does nothing; there are {', '.join(known)}{meant}",
            UnknownVariable,
            stacklevel=2,
        )
