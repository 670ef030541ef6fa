"""Development certificates: an authority, and certificates for servers, terminals and peers.

Rules: production brings its own authority; what is made here carries a mark by which production mode refuses it. Keys
are EC P-256, key files have mode 0600, and nothing that exists is ever overwritten.
"""

from kms.pki.authority import IssuedCertificate, init_pki, issue_peer, issue_terminal
from kms.pki.mark import is_development

__all__ = ["IssuedCertificate", "init_pki", "is_development", "issue_peer", "issue_terminal"]
