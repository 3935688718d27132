"""Which OCSF activity an event type is, and what each OCSF class asks for beside the base fields.

The numbers and captions are those of OCSF 1.8.0 (https://schema.ocsf.io/1.8.0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

VERSION = "1.8.0"
HIGH, MEDIUM = 4, 3
"""Severities; an event that names none is informational."""
FAILURE = 2
"""Status; an event that names none is a success."""

FINDING, LIFECYCLE, API, DATASTORE = 2003, 6002, 6003, 6005
_CLASSES = {
    FINDING: "Compliance Finding",
    LIFECYCLE: "Application Lifecycle",
    API: "API Activity",
    DATASTORE: "Datastore Activity",
}
_CATEGORIES = {2: "Findings", 6: "Application Activity"}


@dataclass(frozen=True)
class Ocsf:
    """An event type as OCSF has it: class, activity, severity and status."""

    class_uid: int
    activity_id: int
    activity_name: str
    severity_id: int = 1
    status_id: int = 1

    @property
    def class_name(self) -> str:
        """The class's caption."""
        return _CLASSES[self.class_uid]

    def fields(self) -> dict[str, Any]:
        """The base fields that follow from the event's type alone."""
        category = self.class_uid // 1000
        return {
            "activity_id": self.activity_id,
            "activity_name": self.activity_name,
            "category_name": _CATEGORIES[category],
            "category_uid": category,
            "class_name": self.class_name,
            "class_uid": self.class_uid,
            "severity_id": self.severity_id,
            "status_id": self.status_id,
            "type_uid": self.class_uid * 100 + self.activity_id,
        }

    def class_fields(self, kind: str, *, event: str, run: str, actor: str) -> dict[str, Any]:
        """The fields that the class asks for, of one event: its type, id, run and actor."""
        if self.class_uid == FINDING:
            return {
                "compliance": {"control": kind, "standards": ["strongroom-policy"]},
                "finding_info": {"title": kind, "uid": event},
            }
        if self.class_uid == LIFECYCLE:
            return {"app": {"name": "Strongroom", "vendor_name": "Strongroom"}}
        who = {"actor": {"app_name": actor}, "src_endpoint": {"name": actor}}
        if self.class_uid == API:
            return who | {"api": {"operation": kind}}
        return who | {"databucket": {"name": run, "type_id": 99, "type": "Strongroom run"}}
