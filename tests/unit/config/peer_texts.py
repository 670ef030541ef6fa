"""Configuration texts of peers, card ranges and roles, to be put together by tests."""

PIN = "ab" * 32

PROVIDER_PEER = f"""
[[peers]]
name = "bikes"
role = "provider"
certificate_fingerprint = "{PIN}"
allowed_aids = ["A000000952"]
allowed_privileges = ["80"]
"""

ISSUER_PEER = """
[[peers]]
name = "bank"
role = "issuer"
url = "https://bank.example:8443"
ca = "bank-ca.pem"
certificate = "bank.pem"
client_certificate = "us.pem"
client_key = "us.key"
"""

RANGE = """
[[card_ranges]]
from = "4700"
to = "47FF"
issuer = "bank"
"""

MANAGED = ('privileges = "80"\n', 'privileges = "80"\nmanaged_by = "provider"\n')
ROLE = ('role = "issuer"', 'role = "provider"')
