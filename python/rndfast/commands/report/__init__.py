"""``rndfast report``: one page about runs that opens without a network."""

from __future__ import annotations

from rndfast.commands.report.page import report

__all__ = ["report"]
