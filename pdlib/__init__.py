"""Helpers of the CustNetGC analysis book: one module per step from recording to page."""

import sys

__version__ = "0.1.0"

# jsonschema, which nbformat brings along, takes this where it is there to check international web addresses, and it
# builds a grammar of them as it is imported: most of a second in every command, for addresses no notebook has
sys.modules.setdefault("rfc3987_syntax", None)
