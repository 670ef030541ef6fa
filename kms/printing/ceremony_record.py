"""A ceremony's record as PDF, made for printing and signing by those who were present.

Rules: made from a record whose signature was checked, and from nothing else; all text is escaped; nothing is fetched.
The PDF is a copy for people: what verifies is the JSON file, whose signing key's fingerprint is printed.
"""

import json
from collections.abc import Mapping
from html import escape

from weasyprint import HTML
from weasyprint.urls import URLFetcher

from kms.domain.ceremony_records import VerifiedRecord

_STYLE = """
@page { size: A4; margin: 18mm 15mm; @bottom-center { content: counter(page) " / " counter(pages); font-size: 8pt } }
body { font-family: "DejaVu Sans", sans-serif; font-size: 8.5pt; line-height: 1.35 }
h1 { font-size: 15pt } h2 { font-size: 11pt; margin-top: 6mm }
table { border-collapse: collapse; width: 100% } td, th { border-top: 0.3pt solid #999; padding: 1mm 2mm 1mm 0;
  text-align: left; vertical-align: top; overflow-wrap: anywhere } th { width: 32mm; font-weight: bold }
pre { font-family: "DejaVu Sans Mono", monospace; font-size: 7pt; white-space: pre-wrap }
.mark { border: 1.5pt solid #a00; color: #a00; padding: 2mm; font-weight: bold; text-align: center }
.line td { height: 11mm; border-bottom: 0.5pt solid #000; border-top: none }
"""
_FACTS = (
    ("Platform", "platform"),
    ("Mode", "mode"),
    ("Software", "software"),
    ("Ceremony", "ceremony"),
    ("Kind", "kind"),
    ("Result", "result"),
    ("Why it ended", "why_ended"),
    ("Key", "key_name"),
    ("Generation", "key_generation"),
    ("Check value", "kcv"),
    ("Its method", "kcv_method"),
    ("Because", "because"),
    ("Started by", "started_by"),
    ("Started", "started_at"),
    ("Finished", "finished_at"),
    ("Script", "script_name"),
    ("SHA-256", "script_sha256"),
    ("In words", "script_words"),
)


def build_html(verified: VerifiedRecord) -> str:
    """The record as one HTML page."""
    record = verified.record
    steps = [item for item in _list(record.get("steps")) if isinstance(item, Mapping)]
    people = sorted({(str(item.get("person")), str(item.get("role"))) for item in steps})
    mark = '<p class="mark">REHEARSAL: nothing of this is in force</p>' if record.get("rehearsal") else ""
    facts = "".join(f"<tr><th>{name}</th><td>{_show(record.get(field))}</td></tr>" for name, field in _FACTS)
    exceptions = "".join(f"<li>{_show(item)}</li>" for item in _list(record.get("exceptions"))) or "<li>none</li>"
    rows = "".join(_build_step(item) for item in steps)
    lines = "".join(f'<tr class="line"><td>{_show(name)} ({_show(role)})</td><td></td></tr>' for name, role in people)
    return (
        f"<html lang='en'><head><title>{_show(record.get('title'))}</title><style>{_STYLE}</style></head><body>{mark}"
        f"<h1>{_show(record.get('title'))}</h1><table>{facts}</table>"
        f"<h2>Exceptions</h2><ul>{exceptions}</ul><h2>Steps as they were done</h2><table>{rows}</table>"
        f"<h2>Signatures of those present</h2><table>{lines}</table>"
        f"<p>Signed by the HSM's key with the fingerprint<br><b>{_show(verified.fingerprint)}</b></p>"
        f"<h2>The script</h2><pre>{_show(record.get('script'))}</pre></body></html>"
    )


def build_pdf(verified: VerifiedRecord) -> bytes:
    """The record as PDF."""
    html = HTML(string=build_html(verified), url_fetcher=URLFetcher(allowed_protocols=()))
    return bytes(html.write_pdf())


def _build_step(item: Mapping[str, object]) -> str:
    result = item.get("result")
    shown = json.dumps(result, indent=1, sort_keys=True, ensure_ascii=False) if result else ""
    who = f"{_show(item.get('person'))}, {_show(item.get('role'))}<br>second factor {_show(item.get('second_factor'))}"
    return (
        f"<tr><th>{_show(item.get('number'))}. {_show(item.get('do'))}<br>{_show(item.get('done_at'))}</th>"
        f"<td>{who}<br>{_show(item.get('text'))}<pre>{_show(shown)}</pre></td></tr>"
    )


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []


def _show(value: object) -> str:
    if isinstance(value, list | tuple):
        return escape(" ".join(str(item) for item in value))
    return "-" if value in (None, "") else escape(str(value))
