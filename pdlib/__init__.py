"""Helpers of the CustNetGC analysis book: one module per step from recording to page."""

__version__ = "0.1.0"
