"""A run as one HTML file that opens without a network: the command `report`.

content.py       what the page shows, as JSON
flights.py       recorded flights, packed into few bytes
page.py          template, style and scripts, put together with the content
template.html, style.css, *.js   the page itself: no framework, and nothing is fetched
"""

from raptor_jax.report.page import write

__all__ = ["write"]
