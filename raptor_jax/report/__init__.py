"""A run as one HTML file that works offline (the command `report`).

content.py       the data of the page, as JSON
flights.py       recorded flights in a compact binary format
page.py          combines template, style, scripts and data
template.html, style.css, *.js   the page: no framework, no network access
"""

from raptor_jax.report.page import write

__all__ = ["write"]
