"""How to cite isologit, as text and as BibTeX; ``CITATION.cff`` says the same."""

TITLE = "isologit: the tokens that a language model cannot tell apart"
AUTHORS = "The isologit authors"


def plain(version: str) -> str:
    """Return it as text."""
    return f"{AUTHORS}. {TITLE}. Version {version}, 2026. Licence: MIT."


def bibtex(version: str) -> str:
    """Return it as an entry of BibTeX; the second braces keep a name from being taken apart."""
    return (
        "@software{isologit,\n"
        f"  author  = {{{{{AUTHORS}}}}},\n"
        f"  title   = {{{{{TITLE}}}}},\n"
        f"  version = {{{version}}},\n"
        "  year    = {2026},\n"
        "  license = {MIT}\n"
        "}"
    )
