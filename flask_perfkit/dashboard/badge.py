"""One small element on the application's own HTML pages: what a request took, and a link to why.

It is a script of ours that makes a custom element, so that no style of the page touches it. Where
a page is no complete document, or a policy of its would refuse the script, it is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from markupsafe import Markup

from flask_perfkit.recording.wording import counted, milliseconds, statement_count

if TYPE_CHECKING:
    from flask import Request, Response

    from flask_perfkit.recording.profile import Profile

_LARGEST = 5_000_000
_END = b"</body>"
_POLICIES = ("Content-Security-Policy", "Content-Security-Policy-Report-Only")
_TAG = Markup(
    '<script src="{root}/static/badge.js" nonce="{nonce}" data-href="{href}" data-time="{time}" '
    'data-statements="{statements}" data-findings="{findings}" data-worst="{worst}"></script>'
)


def put_badge(response: Response, asked: Request, profile: Profile, root: str, href: str) -> None:
    """Put the badge on a response, if it is one that carries it.

    :param root: where the dashboard is, as the browser sees it.
    :param href: the address of the request's own page.
    """
    if not _is_document(response, asked):
        return
    nonce = _nonce(response)
    body = response.get_data()
    place = body.lower().rfind(_END)
    if nonce is None or place < 0 or not _ends(body[place + len(_END) :]):
        return
    count = len(profile.findings)
    tag = _TAG.format(
        root=root,
        nonce=nonce,
        href=href,
        time=milliseconds(profile.duration),
        statements=statement_count(profile),
        findings=counted(count, "finding") if count else "",
        worst=profile.findings[0].severity if count else "",
    )
    response.set_data(body[:place] + tag.encode("ascii", "xmlcharrefreplace") + body[place:])


def _is_document(response: Response, asked: Request) -> bool:
    """Tell whether a response is a whole page that a browser shows as such."""
    charset = response.mimetype_params.get("charset", "utf-8").lower()
    return (
        asked.method == "GET"
        and response.status_code == 200
        and response.mimetype == "text/html"
        and not charset.startswith(("utf-16", "utf-32"))
        and response.is_sequence
        and not response.direct_passthrough
        and not {"Content-Encoding", "Content-Disposition", "ETag"} & set(response.headers.keys())
        and "HX-Request" not in asked.headers
        and asked.headers.get("Sec-Fetch-Dest", "document") == "document"
        and (response.content_length or 0) <= _LARGEST
    )


def _ends(rest: bytes) -> bool:
    """Tell whether what follows is the end of a document, and not of a script that holds one."""
    return b"</" not in rest.lower().replace(b"</html>", b"")


def _nonce(response: Response) -> str | None:
    """Return the nonce that our script needs: empty for none, None where it may not run."""
    if b"content-security-policy" in response.get_data().lower():
        return None  # in an element of the page
    nonces = set()
    for policy in _policies(response):
        found = _nonce_of(policy)
        if found is None:
            return None
        if found:
            nonces.add(found)
    return None if len(nonces) > 1 else next(iter(nonces), "")


def _policies(response: Response) -> Iterable[str]:
    for name in _POLICIES:
        for value in response.headers.getlist(name):
            yield from value.split(",")


def _nonce_of(policy: str) -> str | None:
    """Return the nonce that one policy asks of a script of the page's own origin."""
    directives: dict[str, list[str]] = {}
    for directive in policy.split(";"):
        name, *sources = directive.split()[:1_000] or [""]
        directives.setdefault(name.lower(), sources)
    if "sandbox" in directives and "allow-scripts" not in directives["sandbox"]:
        return None
    scripts = ("script-src-elem", "script-src", "default-src")
    deciding = [directives[name] for name in scripts if name in directives]
    if not deciding:
        return ""
    sources = deciding[0]
    for source in sources:
        if source.startswith("'nonce-"):
            return source.removeprefix("'nonce-").removesuffix("'")
    is_allowed = "'self'" in sources or "*" in sources
    return "" if is_allowed and "'strict-dynamic'" not in sources else None
