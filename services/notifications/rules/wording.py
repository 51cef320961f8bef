"""What people read, in the languages we speak. No sentence has room for a band, a score or an amount."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.notifications.model import Kind

FALLBACK = "en"


@dataclass(frozen=True, slots=True)
class Sentence:
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Language:
    greeting: str
    greeting_without_name: str
    some_cycle: str
    decided_on: str
    open_portal: str
    footer: str
    months: str
    date: str
    kinds: Mapping[Kind, Sentence]


_EN = Language(
    greeting="Hello {name},",
    greeting_without_name="Hello,",
    some_cycle="this cycle",
    decided_on="Date: {date}",
    open_portal="Open the portal",
    footer="You get this because your organisation works with Plumbline. Mails can be switched off in the portal.",
    months="January February March April May June July August September October November December",
    date="{day} {month} {year}",
    kinds={
        Kind.CLASSIFICATION_PUBLISHED: Sentence(
            "Your classification for {cycle} is available",
            "Your performance classification for {cycle} was published. You can read it in the portal.",
        ),
        Kind.CLASSIFICATION_REVISED: Sentence(
            "Your classification for {cycle} was revised",
            "Your performance classification for {cycle} was revised. You can read the new version in the portal.",
        ),
        Kind.AWARD_DECIDED: Sentence(
            "Your award for {cycle} was decided",
            "A decision about your pay for {cycle} was made. Your statement is in the portal.",
        ),
        Kind.AWARD_ADJUSTED: Sentence(
            "Your award for {cycle} was adjusted",
            "The decision about your pay for {cycle} was adjusted. Your statement in the portal shows what changed.",
        ),
        Kind.SCORECARD_LATE: Sentence(
            "A scorecard of {cycle} changed after the freeze",
            "A scorecard of {cycle} changed after the freeze. It has no effect until it is accepted in the portal.",
        ),
        Kind.RUN_AWAITS_APPROVAL: Sentence(
            "A compensation run for {cycle} awaits approval",
            "A compensation run for {cycle} was computed and awaits approval in the portal.",
        ),
    },
)
_DE = Language(
    greeting="Guten Tag {name},",
    greeting_without_name="Guten Tag,",
    some_cycle="diesen Zeitraum",
    decided_on="Datum: {date}",
    open_portal="Portal öffnen",
    footer="Sie bekommen dies, weil Ihr Unternehmen Plumbline nutzt. Sie können E-Mails im Portal abstellen.",
    months="Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    date="{day}. {month} {year}",
    kinds={
        Kind.CLASSIFICATION_PUBLISHED: Sentence(
            "Ihre Einstufung für {cycle} liegt vor",
            "Ihre Leistungseinstufung für {cycle} wurde veröffentlicht. Sie können sie im Portal lesen.",
        ),
        Kind.CLASSIFICATION_REVISED: Sentence(
            "Ihre Einstufung für {cycle} wurde geändert",
            "Ihre Leistungseinstufung für {cycle} wurde geändert. Die neue Fassung steht im Portal.",
        ),
        Kind.AWARD_DECIDED: Sentence(
            "Über Ihre Vergütung für {cycle} wurde entschieden",
            "Über Ihre Vergütung für {cycle} wurde entschieden. Ihre Abrechnung steht im Portal.",
        ),
        Kind.AWARD_ADJUSTED: Sentence(
            "Ihre Vergütung für {cycle} wurde angepasst",
            "Die Entscheidung über Ihre Vergütung für {cycle} wurde angepasst. Was sich geändert hat, steht im Portal.",
        ),
        Kind.SCORECARD_LATE: Sentence(
            "Eine Scorecard für {cycle} hat sich nach dem Stichtag geändert",
            "Eine Scorecard für {cycle} hat sich nach dem Stichtag geändert. Sie wirkt erst, wenn sie im Portal "
            "angenommen wird.",
        ),
        Kind.RUN_AWAITS_APPROVAL: Sentence(
            "Ein Vergütungslauf für {cycle} wartet auf Freigabe",
            "Ein Vergütungslauf für {cycle} wurde berechnet und wartet im Portal auf Freigabe.",
        ),
    },
)
_ES = Language(
    greeting="Hola, {name}:",
    greeting_without_name="Hola:",
    some_cycle="este ciclo",
    decided_on="Fecha: {date}",
    open_portal="Abrir el portal",
    footer="Recibe este mensaje porque su organización usa Plumbline. Puede desactivar los correos en el portal.",
    months="enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    date="{day} de {month} de {year}",
    kinds={
        Kind.CLASSIFICATION_PUBLISHED: Sentence(
            "Su clasificación de {cycle} está disponible",
            "Se ha publicado su clasificación de desempeño de {cycle}. Puede leerla en el portal.",
        ),
        Kind.CLASSIFICATION_REVISED: Sentence(
            "Se ha revisado su clasificación de {cycle}",
            "Se ha revisado su clasificación de desempeño de {cycle}. La nueva versión está en el portal.",
        ),
        Kind.AWARD_DECIDED: Sentence(
            "Hay una decisión sobre su retribución de {cycle}",
            "Se ha decidido sobre su retribución de {cycle}. Su comprobante está en el portal.",
        ),
        Kind.AWARD_ADJUSTED: Sentence(
            "Se ha ajustado su retribución de {cycle}",
            "Se ha ajustado la decisión sobre su retribución de {cycle}. El comprobante del portal muestra el cambio.",
        ),
        Kind.SCORECARD_LATE: Sentence(
            "Un cuadro de resultados de {cycle} cambió después del cierre",
            "Un cuadro de resultados de {cycle} cambió después del cierre. No tiene efecto hasta que se acepte en el "
            "portal.",
        ),
        Kind.RUN_AWAITS_APPROVAL: Sentence(
            "Un cálculo de retribuciones de {cycle} espera aprobación",
            "Se ha calculado la retribución de {cycle} y espera aprobación en el portal.",
        ),
    },
)
LANGUAGES: Mapping[str, Language] = {"en": _EN, "de": _DE, "es": _ES}


def language_of(locale: str | None) -> str:
    """The language of a locale such as `es-MX` or `de_AT`, or English where we do not speak it."""
    spoken = (locale or FALLBACK).replace("_", "-").split("-")[0].lower()
    return spoken if spoken in LANGUAGES else FALLBACK


def one_line(text: str) -> str:
    """`text` without control characters: a cycle's or a person's name must not be able to end a mail header."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def sentence(language: str, kind: Kind, cycle: str | None) -> Sentence:
    words = LANGUAGES[language]
    named = one_line(cycle) if cycle else words.some_cycle
    # Not str.format: a brace in a cycle's name is a brace.
    found = words.kinds[kind]
    return Sentence(found.title.replace("{cycle}", named), found.text.replace("{cycle}", named))


def greeting(language: str, name: str | None) -> str:
    words = LANGUAGES[language]
    return words.greeting.replace("{name}", one_line(name)) if name else words.greeting_without_name


def local_date(language: str, instant: datetime, time_zone: str) -> str:
    """The calendar day of `instant` where the reader works, spelled out."""
    words, day = LANGUAGES[language], _day(instant, time_zone)
    spelled = words.date.format(day=day.day, month=words.months.split()[day.month - 1], year=day.year)
    return words.decided_on.format(date=spelled)


def _day(instant: datetime, time_zone: str) -> date:
    try:
        return instant.astimezone(ZoneInfo(time_zone)).date()
    except (ZoneInfoNotFoundError, ValueError):
        return instant.date()
