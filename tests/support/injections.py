"""Texts by which strangers try to end a line, a header or a field, and to begin one of their own."""

FORGED = "forged-by-a-stranger"
LINE = f'{{"event": "{FORGED}", "level": "CRITICAL", "process": "{FORGED}"}}'
TEXTS = {
    "CR and LF": f"x\r\nX-Forged: {FORGED}\r\n\r\n{LINE}",
    "LF": f"x\n{LINE}\n",
    "CR": f"x\r{LINE}\r",
    "NUL": f"x\0{LINE}",
    "an escape sequence": f"\x1b[2J\x1b[31mx\x1b]0;{FORGED}\x07",
    "a line separator": f"x\u2028{LINE}",
    "a paragraph separator": f"x\u2029{LINE}",
    "the next line": f"x\x85{LINE}",
    "a form feed": f"x\x0c{LINE}\x0b{LINE}",
    "the end of a string": f'x", "event": "{FORGED}", "process": "{FORGED}',
    "a format": "%s %(process)s %n {process} {0.__class__}",
    "a turn": f"\u202e{FORGED}\u2066",
    "a byte order mark": f"\ufeff{LINE}",
    "an encoded line": "x%0d%0aX-Forged:%20" + FORGED,
}
"""Each as it may stand in JSON."""
LINE_ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
