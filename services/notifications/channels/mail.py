"""Letters as MIME messages, and their way out through one SMTP server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path

import aiosmtplib
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from services.notifications.model import Letter, Outcome, Verdict
from services.notifications.rules import wording
from services.notifications.rules.retries import ROUND
from services.notifications.settings import NotificationsSettings
from shared.clock import Clock

CONNECTIONS = 8
TIMEOUT_SECONDS = 15.0
_MAILBOX_REFUSED = 500
_TEMPLATES = Path(__file__).parents[1] / "templates"
# Base64 and quoted-printable only: no server on the way needs to know 8BITMIME.
_POLICY = SMTP.clone(cte_type="7bit")


class Mailer:
    """Sends letters over a few connections at once. Its outcomes carry reply codes, never what the server wrote."""

    def __init__(self, settings: NotificationsSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._templates = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
            undefined=StrictUndefined,
            trim_blocks=True,
            keep_trailing_newline=True,
        )

    def compose(self, letter: Letter) -> EmailMessage:
        """The message of a letter. Its id is the delivery's, so that a repeated one can be told from a second one."""
        language = wording.language_of(letter.locale)
        words = wording.LANGUAGES[language]
        said = wording.sentence(language, letter.kind, letter.cycle)
        values = {
            "language": language,
            "title": said.title,
            "greeting": wording.greeting(language, letter.display_name),
            "text": said.text,
            "date": wording.local_date(language, letter.happened_at, letter.time_zone),
            "link": str(self._settings.portal_url) if self._settings.portal_url else None,
            "open_portal": words.open_portal,
            "footer": words.footer,
        }
        sender = self._settings.mail_from
        message = EmailMessage(_POLICY)
        message["From"] = sender
        message["To"] = letter.address
        message["Subject"] = said.title
        message["Date"] = format_datetime(self._clock())
        message["Message-ID"] = f"<{letter.claim.delivery}@{sender.partition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(self._templates.get_template("notice.txt.j2").render(values))
        message.add_alternative(self._templates.get_template("notice.html.j2").render(values), subtype="html")
        return message

    async def send(self, letters: Sequence[Letter]) -> list[Outcome]:
        """Hand each over, until the round's time is over."""
        deadline = asyncio.get_running_loop().time() + ROUND.total_seconds()
        lanes = [letters[start::CONNECTIONS] for start in range(min(CONNECTIONS, len(letters)))]
        sent = await asyncio.gather(*(self._lane(lane, deadline) for lane in lanes))
        return [outcome for lane in sent for outcome in lane]

    async def _lane(self, letters: Sequence[Letter], deadline: float) -> list[Outcome]:
        """One connection for all letters; a broken one is made again, and where it cannot be, the rest must wait."""
        smtp = self._connection()
        outcomes: list[Outcome] = []
        unreachable: str | None = None
        for letter in letters:
            if asyncio.get_running_loop().time() >= deadline:
                outcomes.append(Outcome(letter.claim, Verdict.NOT_TRIED))
                continue
            if unreachable is None and not smtp.is_connected:
                smtp = self._connection()
                unreachable = await _connect(smtp)
            if unreachable is not None:
                outcomes.append(Outcome(letter.claim, Verdict.RETRY, unreachable))
            else:
                outcomes.append(await self._send(smtp, letter))
        await _quit(smtp)
        return outcomes

    async def _send(self, smtp: aiosmtplib.SMTP, letter: Letter) -> Outcome:
        source = self.compose(letter).as_bytes()
        try:
            await smtp.sendmail(self._settings.mail_from, [letter.address], source)
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [refused.code for refused in error.recipients]
            final = all(code >= _MAILBOX_REFUSED for code in codes)
            verdict = Verdict.NEVER if final else Verdict.RETRY
            return Outcome(letter.claim, verdict, f"smtp-recipient-{max(codes)}")
        except (aiosmtplib.SMTPException, OSError) as error:
            return Outcome(letter.claim, Verdict.RETRY, _code_of(error))
        return Outcome(letter.claim, Verdict.DELIVERED)

    def _connection(self) -> aiosmtplib.SMTP:
        settings = self._settings
        password = settings.smtp_password
        return aiosmtplib.SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            username=settings.smtp_username,
            password=password.get_secret_value() if password else None,
            use_tls=settings.smtp_tls == "tls",
            start_tls={"auto": None, "starttls": True, "tls": False}[settings.smtp_tls],
            timeout=TIMEOUT_SECONDS,
        )


async def _connect(smtp: aiosmtplib.SMTP) -> str | None:
    """Why no mail can be handed over now, as a code."""
    try:
        await smtp.connect()
    except (aiosmtplib.SMTPException, OSError) as error:
        return _code_of(error)
    return None


async def _quit(smtp: aiosmtplib.SMTP) -> None:
    if smtp.is_connected:
        try:
            await smtp.quit()
        except (aiosmtplib.SMTPException, OSError):
            smtp.close()


def _code_of(error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"smtp-{error.code}"
    if isinstance(error, TimeoutError):
        return "smtp-timeout"
    if isinstance(error, ConnectionError | OSError):
        return "smtp-unreachable"
    return "smtp-failed"
