"""The message that is personalised, and for whom."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DOMAIN", "HTML", "IMAGE", "IMAGE_NAME", "SELECTOR", "SUBJECT", "TEXT", "make_rows"]

DOMAIN = "example.com"
SELECTOR = "benchmark"
SUBJECT = "{name}, your {month} at a glance"

_PARAGRAPH = (
    "The numbers of the month are in, and there is something in them for everybody: more readers, more letters "
    "to the editors, and more answers than ever before. What follows sums them up."
)

TEXT = f"""Dear {{name}},

{_PARAGRAPH}

Your points: {{points}}
Member since: {{since}}

{_PARAGRAPH}

With kind regards
The editors
"""

HTML = f"""<!DOCTYPE html>
<html>
<body style="font-family: sans-serif">
<img src="cid:logo" alt="" width="64" height="64">
<h1>Dear {{name}},</h1>
<p>{_PARAGRAPH}</p>
<table>
<tr><td>Your points</td><td>{{points}}</td></tr>
<tr><td>Member since</td><td>{{since}}</td></tr>
</table>
<p>{_PARAGRAPH}</p>
<p>With kind regards<br>The editors</p>
</body>
</html>
"""

IMAGE_NAME = "logo.png"
IMAGE = Random(0).randbytes(5000)


def make_rows(number: int) -> Iterator[dict[str, str]]:
    """The recipients, with the fields that the placeholders stand for."""
    for each in range(number):
        yield {
            "email": f"reader{each}@example.com",
            "name": f"Reader & Writer {each}",
            "month": "January",
            "points": str(each * 7),
            "since": str(1990 + each % 30),
        }
