"""QR codes of addresses, as SVG that a page holds inline."""

from __future__ import annotations

import segno
from markupsafe import Markup

QUIET_MODULES = 4
"""The empty modules around a code, as ISO/IEC 18004 demands: phones need them to find it."""


def qr_svg(address: str) -> Markup:
    """Return the QR code of an address: black on white, also on dark pages, and without a size."""
    code = segno.make_qr(address, error="m")
    drawn = code.svg_inline(border=QUIET_MODULES, omitsize=True, dark="#000", light="#fff")
    return Markup(drawn)  # noqa: S704 - made of modules alone
