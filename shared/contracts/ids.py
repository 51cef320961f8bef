"""Typed identifiers. All are opaque text: chosen by the customer where the customer owns the thing, ours otherwise."""

from __future__ import annotations

from typing import NewType

from pydantic import StringConstraints

ProviderId = NewType("ProviderId", str)
ClientId = NewType("ClientId", str)
LineOfBusiness = NewType("LineOfBusiness", str)
SourceId = NewType("SourceId", str)
MetricKey = NewType("MetricKey", str)
EmployeeId = NewType("EmployeeId", str)
UnitId = NewType("UnitId", str)
KpiEventId = NewType("KpiEventId", str)
"""`<source>/<the source's own id>`: unique within a provider."""
FeedbackId = NewType("FeedbackId", str)
TemplateId = NewType("TemplateId", str)
CycleId = NewType("CycleId", str)
SessionId = NewType("SessionId", str)
PlanId = NewType("PlanId", str)
PoolId = NewType("PoolId", str)
RunId = NewType("RunId", str)
Band = NewType("Band", str)

IDENTIFIER = StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
"""What a customer-chosen id may look like: `Annotated[EmployeeId, IDENTIFIER]`. No slash, no space, no mail address."""
