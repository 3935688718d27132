"""The formats of a report, by the ending of the file that holds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from strongroom.audit.report import document, page, picture
from strongroom.audit.report.model import ReportData

FORMATS: Mapping[str, Callable[[ReportData], str]] = {
    ".html": page.render,
    ".svg": picture.render,
    ".json": document.render,
}
