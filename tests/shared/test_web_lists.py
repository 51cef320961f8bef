"""Lists: every row once, whatever the size of the page; as JSON or CSV."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Callable, Mapping

import httpx
import pytest
from pydantic import AwareDatetime, BaseModel
from sqlalchemy import Integer, Select, String, column, select, table
from starlette.datastructures import URL

from shared.keyset import keyset
from shared.web import Refusal
from shared.web.csv import to_csv
from shared.web.pages import PageRequest

Bearer = Callable[..., dict[str, str]]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 10, 11])
async def test_following_next_shows_every_row_once_in_order(
    notes: httpx.AsyncClient, bearer: Bearer, limit: int
) -> None:
    seen: list[Mapping[str, object]] = []
    query: dict[str, str | int] = {"count": 10, "limit": limit}
    while True:
        page = (await notes.get("/v1/notes", params=query, headers=bearer("manager"))).json()
        assert 1 <= len(page["items"]) <= limit
        seen += page["items"]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert [note["number"] for note in seen] == [0, 3, 6, 9, 1, 4, 7, 2, 5, 8]


def forged(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


TOO_MUCH = [forged(f'["2025-03-03", {number}]') for number in (2**63, -(2**63) - 1, 10**30)]


@pytest.mark.parametrize("cursor", ["", "x", "####", "é", "W10", "WzEsMl0", "bnVsbA", "A" * 900, *TOO_MUCH])
async def test_a_cursor_of_elsewhere_is_named(notes: httpx.AsyncClient, bearer: Bearer, cursor: str) -> None:
    answer = await notes.get("/v1/notes", params={"cursor": cursor}, headers=bearer("manager"))
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "cursor"


@pytest.mark.parametrize(("limit", "status"), [(0, 422), (200, 200), (201, 400), (20_000, 422)])
async def test_a_page_has_at_most_two_hundred_rows(
    notes: httpx.AsyncClient, bearer: Bearer, limit: int, status: int
) -> None:
    answer = await notes.get(f"/v1/notes?limit={limit}", headers=bearer("manager"))
    assert answer.status_code == status


async def test_a_list_comes_as_csv_with_its_formulas_disarmed(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    headers = {**bearer("manager"), "Accept": "text/csv"}
    answer = await notes.get("/v1/notes?count=700", headers=headers)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 700
    assert rows[0] == {"number": "0", "day": "2026-01-01", "text": "'=note 0"}


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("TEXT/CSV; charset=utf-8", "text/csv"),
        ("text/html, text/csv;q=0.5", "text/csv"),
        ("text/csv, */*", "text/csv"),
        ("text/*", "text/csv"),
        ("application/json;q=0.3, text/*;q=0.4", "text/csv"),
        ("application/json;q=0, */*", "text/csv"),
        ("text/csv;q=0, text/*, */*;q=0.1", "application/json"),
        ("text/csv;q=0.5, application/json", "application/json"),
        ("text/csv, application/json", "application/json"),
        ("text/csv;q=0", "application/json"),
        ("*/*", "application/json"),
        ("image/png", "application/json"),
        (",;q=,text/csv;q=nan;q", "text/csv"),
        ("", "application/json"),
    ],
)
async def test_a_list_comes_in_the_form_that_is_welcome_more(
    notes: httpx.AsyncClient, bearer: Bearer, accept: str, kind: str
) -> None:
    answer = await notes.get("/v1/notes", headers={**bearer("manager"), "Accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == kind


async def test_what_is_accepted_may_stand_in_several_headers(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    headers = [*bearer("manager").items(), ("Accept", "application/json;q=0.1"), ("Accept", "text/csv")]
    answer = await notes.get("/v1/notes", headers=headers)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"


async def test_a_cut_csv_links_to_its_continuation(notes: httpx.AsyncClient, bearer: Bearer) -> None:
    headers = {**bearer("manager"), "Accept": "text/csv"}
    first = await notes.get("/v1/notes?count=5&limit=3", headers=headers)
    following = await notes.get(first.links["next"]["url"], headers=headers)
    numbers = [row["number"] for text in (first.text, following.text) for row in csv.DictReader(io.StringIO(text))]
    assert numbers == ["0", "3", "1", "4", "2"]
    assert "next" not in following.links


class Inner(BaseModel):
    name: str | None
    share: float


class Outer(BaseModel):
    id: str
    inner: Inner
    tags: list[str]


def test_nested_fields_become_columns_and_lists_stay_json() -> None:
    rows = [Outer(id="a", inner=Inner(name=None, share=-0.5), tags=["x", "y"])]
    assert to_csv(Outer, rows).splitlines() == ["id,inner.name,inner.share,tags", 'a,,-0.5,"[""x"", ""y""]"']


def test_a_csv_without_rows_still_has_its_header() -> None:
    assert to_csv(Outer, []).splitlines() == ["id,inner,tags"]


@pytest.mark.parametrize(
    ("text", "cell"),
    [("=1+1", "'=1+1"), ("+49 30", "'+49 30"), ("-2", "-2"), ("-2+cmd", "'-2+cmd"), ("@x", "'@x"), ("\tx", "'\tx")],
)
def test_only_text_that_a_spreadsheet_would_run_is_quoted(text: str, cell: str) -> None:
    (row,) = csv.DictReader(io.StringIO(to_csv(Inner, [Inner(name=text, share=0)])))
    assert row["name"] == cell


def test_a_keyset_reads_behind_the_last_row_in_its_order() -> None:
    a, b = column("a", String), column("b", Integer)
    rows: Select[str, int] = select(a, b).select_from(table("t"))
    query = keyset(rows, (a, b), ("x", 2), 51)
    said = " ".join(str(query.compile(compile_kwargs={"literal_binds": True})).split())
    assert said.endswith("WHERE (a, b) > ('x', 2) ORDER BY a, b LIMIT 51")


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (r'["\u0000"]', tuple[str]),
        ('["0001-01-01T00:00:00+14:00"]', tuple[AwareDatetime]),
        ('["9999-12-31T23:59:59-14:00"]', tuple[AwareDatetime]),
    ],
)
def test_a_cursor_holds_only_what_a_column_can(key: str, kind: type[tuple[object, ...]]) -> None:
    request = PageRequest(limit=1, cursor=forged(key), csv=False, url=URL("/v1/notes"))
    with pytest.raises(Refusal, match="cursor"):
        request.after(kind)
