"""Who acts in the demo, and the token each acts with."""

from __future__ import annotations

from deploy.local.demo.world import World
from deploy.local.tokens import TokenSigner


class Desk:
    """Hands out tokens as the provider's identity service would, one for each person and set of roles."""

    def __init__(self, signer: TokenSigner, world: World) -> None:
        self._signer = signer
        self._world = world
        self._kept: dict[tuple[str, str | None], str] = {}

    @property
    def operator(self) -> str:
        """Runs the platform; of no provider."""
        return self._token("operator", None)

    @property
    def administrator(self) -> str:
        return self._token("hr_admin", self._world.administrator.id)

    @property
    def analyst(self) -> str:
        """Prepares pay."""
        return self._token("compensation_admin", self._world.payroll[0].id)

    @property
    def approver(self) -> str:
        """Approves what the analyst prepared."""
        return self._token("compensation_admin", self._world.payroll[1].id)

    def facilitator(self, client: str) -> str:
        return self._token("facilitator", self._world.facilitators[client].id)

    def lead(self, employee: str) -> str:
        return self._token("manager", employee)

    def person(self, employee: str) -> str:
        return self._token("employee", employee)

    def _token(self, role: str, employee: str | None) -> str:
        if (role, employee) not in self._kept:
            provider = None if role == "operator" else self._world.provider
            self._kept[role, employee] = self._signer.token(provider=provider, roles=[role], employee=employee)
        return self._kept[role, employee]
