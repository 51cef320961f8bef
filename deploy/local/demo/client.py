"""Calls to the services as a careful client makes them: again, after a pause, until there is an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx

Body = dict[str, Any]

_TRY_AGAIN = frozenset({429, 502, 503, 504})
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_PAGE = 200


class Refused(Exception):
    """The service understood and said no."""

    def __init__(self, asked: str, response: httpx.Response) -> None:
        problem = _json(response)
        self.status = response.status_code
        self.reason = str(problem.get("type", "")).rpartition(":")[2]
        details = "; ".join(f"{error.get('pointer')}: {error.get('detail')}" for error in problem.get("errors", [])[:5])
        said = f"{problem.get('detail') or response.text[:300]} {details}".strip()
        super().__init__(f"{asked}: {self.status} {self.reason}: {said} (trace {problem.get('trace_id')})")


class Unreachable(Exception):
    """No answer within the client's patience."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`tries` above one means that an earlier answer may have been lost on its way."""

    body: Body
    version: int | None
    tries: int


class Api:
    """One HTTP client for all services of a stack."""

    def __init__(self, url_of: Callable[[str], str], patience: float = 180) -> None:
        self._url_of = url_of
        self._patience = patience
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(60, connect=5),
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=16),
            trust_env=False,
        )
        self.repeated = 0
        """How many requests had to be sent again."""

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def get(self, service: str, path: str, token: str, **params: str | int | bool) -> Answer:
        return await self.ask("GET", service, path, _bearer(token), params=params)

    async def post(self, service: str, path: str, token: str, body: object, *, key: str | None = None) -> Answer:
        headers = _bearer(token) | ({"Idempotency-Key": key} if key else {})
        return await self.ask("POST", service, path, headers, json=body)

    async def put(self, service: str, path: str, token: str, body: object) -> Answer:
        return await self.ask("PUT", service, path, _bearer(token), json=body)

    async def edit(
        self,
        method: str,
        service: str,
        path: str,
        token: str,
        body: object,
        version: int,
        key: str | None = None,
    ) -> Answer:
        """A change of exactly the version that was read."""
        headers = _bearer(token) | {"If-Match": f'"{version}"'} | ({"Idempotency-Key": key} if key else {})
        return await self.ask(method, service, path, headers, json=body)

    async def pages(self, service: str, path: str, token: str, **params: str | int | bool) -> AsyncIterator[Body]:
        """Every item of a list."""
        cursor: Mapping[str, str] = {}
        while True:
            page = (await self.get(service, path, token, limit=_PAGE, **params, **cursor)).body
            for item in page["items"]:
                yield item
            if not page["next"]:
                return
            cursor = {"cursor": page["next"]}

    async def rows(self, service: str, path: str, token: str, **params: str | int) -> int:
        """How many rows a list has, counted in its CSV form."""
        text = await self._answered(
            "GET", service, path, _bearer(token) | {"Accept": "text/csv"}, params=params | {"limit": 10_000}
        )
        return max(0, len(text[0].text.splitlines()) - 1)

    async def ask(
        self,
        method: str,
        service: str,
        path: str,
        headers: Mapping[str, str],
        *,
        json: object = None,
        content: bytes | None = None,
        params: Mapping[str, str | int | bool] | None = None,
    ) -> Answer:
        response, tries = await self._answered(method, service, path, headers, json, content, params)
        etag = response.headers.get("ETag", "").strip('"')
        return Answer(_json(response), int(etag) if etag.isdigit() else None, tries)

    async def _answered(
        self,
        method: str,
        service: str,
        path: str,
        headers: Mapping[str, str],
        json: object = None,
        content: bytes | None = None,
        params: Mapping[str, str | int | bool] | None = None,
    ) -> tuple[httpx.Response, int]:
        asked = f"{method} {service} {path}"
        url = f"{self._url_of(service)}{path}"
        given_up, pause, tries, why = time.monotonic() + self._patience, _FIRST_PAUSE, 0, ""
        while time.monotonic() < given_up:
            tries += 1
            try:
                response = await self._http.request(
                    method, url, headers=dict(headers), json=json, content=content, params=params
                )
            except httpx.TransportError as error:
                why = f"{type(error).__name__} {error}".strip()
            else:
                if response.is_success:
                    return response, tries
                refused = Refused(asked, response)
                if refused.status not in _TRY_AGAIN and refused.reason != "idempotency-in-progress":
                    raise refused
                why = str(refused)
            self.repeated += 1
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 1.6)
        raise Unreachable(f"{asked}: no answer in {self._patience:.0f} s; the last try ended with {why}")


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _json(response: httpx.Response) -> Body:
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {"items": found, "next": None}
