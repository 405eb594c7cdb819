# ruff: noqa: RUF001 - some climbs are spelled in characters that look like dots and slashes
"""Names by which strangers try to get out of the folder that a name is looked up in.

`{secret}` is the absolute path of a file that no answer may show.
"""

from pathlib import Path
from urllib.parse import quote

MARK = "planted-in-a-file-that-is-nobodys"

CLIMBS = {
    "up": "../../secret.txt",
    "up and down": "../../data/../secret.txt",
    "far up": "../" * 20 + "etc/passwd",
    "up in the middle": "a/../../../secret.txt",
    "only up": "..",
    "here": ".",
    "absolute": "{secret}",
    "absolute twice": "/{secret}",
    "the system's": "/etc/passwd",
    "this process": "/proc/self/environ",
    "encoded": "%2e%2e%2f%2e%2e%2fsecret.txt",
    "encoded slashes": "..%2f..%2fsecret.txt",
    "encoded twice": "%252e%252e%252f%252e%252e%252fsecret.txt",
    "encoded too long": "%c0%ae%c0%ae%c0%af%c0%ae%c0%ae%c0%afsecret.txt",
    "encoded for Windows": "%u002e%u002e%u002fsecret.txt",
    "backslashes": "..\\..\\secret.txt",
    "encoded backslashes": "..%5c..%5csecret.txt",
    "a drive": "C:\\Windows\\win.ini",
    "a share": "\\\\127.0.0.1\\c$\\secret.txt",
    "a stripped half": "....//....//secret.txt",
    "a semicolon": "..;/..;/secret.txt",
    "NUL": "../../secret.txt\0.png",
    "encoded NUL": "..%2f..%2fsecret.txt%00.png",
    "a line break": "../../secret.txt\n",
    "dots of one character": "‥/‥/secret.txt",
    "dots like dots": "․․/․․/secret.txt",
    "full width": "．．／．．／secret.txt",
    "a slash like a slash": "..∕..∕secret.txt",
    "home": "~/secret.txt",
    "a variable": "$HOME/../secret.txt",
    "a URL": "file://{secret}",
    "long": "../" * 3_000 + "etc/passwd",
    "a long name": "a" * 5_000,
    "long and up": "a" * 300 + "/../../../secret.txt",
}


def placed(climb: str, secret: Path) -> str:
    return climb.replace("{secret}", str(secret))


def as_target(climb: str) -> str:
    """As it stands in a request's path: what is encoded stays so, what may not stand there is encoded."""
    return quote(climb, safe="/%\\:$;~.")


def leaks(shown: bytes) -> bool:
    """Whether it shows what lies where the climbs lead."""
    return any(mark in shown for mark in (MARK.encode(), b"root:x:0:", b"OMP_NUM_THREADS="))


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """All that lies in the folder: its size and when it was written."""
    paths = [path for path in folder.rglob("*") if path.is_file() or path.is_symlink()]
    return {str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths}
