"""The report: an audit as one page of HTML that needs nothing else, and asks for nothing."""

from isologit.audit_tables import AuditTables
from isologit.output.figures import drawings
from isologit.output.pictured import Pictured


def report_html(audit: AuditTables) -> str:
    """Return the page.

    Parameters
    ----------
    audit
        Fresh, or read back from its directory.
    """
    pictured = Pictured.of(audit)
    return "".join(str(d.figure.to_html(include_plotlyjs=True)) for d in drawings(pictured))
